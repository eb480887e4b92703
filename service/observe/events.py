"""What happens rarely and is worth a line in the log, each with fields by name."""

import logging
from collections.abc import Mapping

from service.observe.logs import fields

logger = logging.getLogger(__name__)


def rival_primaries(shard: int, rivals: Mapping[int, int], highest: int) -> None:
    """Which nodes of a shard take writes and are not believed, by number with their timelines."""
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
    """Another node of a shard takes writes now, or none does (``node`` empty)."""
    level = logging.WARNING if before else logging.INFO
    logger.log(level, "failover", **fields(shard=shard, before=before, primary=node))


def map_changed(moved: int, buckets: int) -> None:
    """The shard map was read, and this many buckets are elsewhere than this worker knew."""
    logger.info("shard-map", **fields(moved=moved, buckets=buckets))


def keys_changed(issuer: str, added: int, removed: int) -> None:
    """An issuer's key set was refreshed and holds other keys."""
    logger.info("key-set", **fields(issuer=issuer, added=added, removed=removed))


def request_failed(request_id: str, trace_id: str, error: BaseException) -> None:
    """A request ended in an error that only a fault of ours can be."""
    said = fields(request_id=request_id, trace_id=trace_id)
    logger.error("request-failed", exc_info=error, **said)


def unread_answers_unbounded() -> None:
    """The listening socket was not found, so answers that nobody reads have no time limit."""
    logger.warning("unread-answers", **fields(limit="none"))
