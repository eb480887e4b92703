"""What happens rarely and is worth a line in the log, each with fields by name."""

import logging

logger = logging.getLogger(__name__)


def breaker_changed(node: str, state: str) -> None:
    """One worker's breaker of a node (``redis``, ``shard-0/primary``, …) changed its mind."""
    level = logging.INFO if state == "closed" else logging.WARNING
    logger.log(level, "breaker node=%s state=%s", node, state)
