"""Rare events, each a log line with named fields."""

import logging
from collections.abc import Mapping

from service.observe.logs import fields

logger = logging.getLogger(__name__)


def rival_primaries(shard: int, rivals: Mapping[int, int], highest: int) -> None:
    """Nodes of a shard that take writes but are not the primary: number to timeline."""
    if not rivals:
        logger.info("primaries", **fields(shard=shard, ignored=""))
    for node, timeline in rivals.items():
        said = fields(shard=shard, ignored=f"node-{node}", timeline=timeline, highest=highest)
        logger.warning("primaries", **said)


def breaker_changed(node: str, state: str) -> None:
    """One worker's breaker of a node (``redis``, ``shard-0/primary``, …) changed its state."""
    level = logging.INFO if state == "closed" else logging.WARNING
    logger.log(level, "breaker", **fields(node=node, state=state))


def primary_changed(shard: int, before: str, node: str) -> None:
    """Another node of a shard became its primary, or the shard has none (``node`` empty)."""
    level = logging.WARNING if before else logging.INFO
    logger.log(level, "failover", **fields(shard=shard, before=before, primary=node))


def map_changed(moved: int, buckets: int) -> None:
    """The shard map was read, and ``moved`` buckets belong to another shard than before."""
    logger.info("shard-map", **fields(moved=moved, buckets=buckets))


def keys_changed(issuer: str, added: int, removed: int) -> None:
    """An issuer's key set was refreshed and has changed."""
    logger.info("key-set", **fields(issuer=issuer, added=added, removed=removed))


def request_failed(request_id: str, trace_id: str, error: BaseException) -> None:
    """A request ended in an unexpected exception, which is a bug of the service."""
    said = fields(request_id=request_id, trace_id=trace_id)
    logger.error("request-failed", exc_info=error, **said)


def unread_answers_unbounded() -> None:
    """The listening socket was not found, so unread answers have no time limit."""
    logger.warning("unread-answers", **fields(limit="none"))
