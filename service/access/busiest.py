"""The limiter's busiest keys, for the status page."""

import heapq
from collections.abc import Iterable
from itertools import islice

from service.access.quota import Quota

# The number of keys that are scanned, oldest first, so that it takes only milliseconds.
_LOOKED_AT = 10_000


def busiest(quotas: Iterable[Quota], now_s: float, at_most: int) -> list[tuple[str, float, float]]:
    """Keys with the most tokens a second in this worker, with the level of Redis' last reply."""
    speeds = (
        (max(q.speed, q.passed / max(1.0, now_s - q.measured_at)), q.level, q.key)
        for q in islice(quotas, _LOOKED_AT)
    )
    found = heapq.nlargest(at_most, speeds)
    return [(key, speed, level) for speed, level, key in found if speed > 0]
