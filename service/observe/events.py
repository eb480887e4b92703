"""What happens rarely and is worth a line in the log, each with fields by name."""

import logging
from collections.abc import Mapping

logger = logging.getLogger(__name__)


def rival_primaries(shard: int, rivals: Mapping[int, int], highest: int) -> None:
    """Which nodes of a shard take writes and are not believed, by number with their timelines."""
    if not rivals:
        logger.info("primaries shard=%d one", shard)
    for node, timeline in rivals.items():
        logger.warning(
            "primaries shard=%d ignored=node-%d timeline=%d highest=%d",
            *(shard, node, timeline, highest),
        )


def breaker_changed(node: str, state: str) -> None:
    """One worker's breaker of a node (``redis``, ``shard-0/primary``, …) changed its mind."""
    level = logging.INFO if state == "closed" else logging.WARNING
    logger.log(level, "breaker node=%s state=%s", node, state)
