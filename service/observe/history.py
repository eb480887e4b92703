"""The last 15 minutes of a host for the status page, so that it needs no Prometheus."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from service.observe import metrics
from service.observe.instruments import SECONDS
from service.observe.totals import Totals

EVERY_S = 5.0
MINUTES = 15
POINTS = int(MINUTES * 60 / EVERY_S) + 1
# A longer gap means that worker 0 was away: no rate is computed across it.
_GAP_S = 3 * EVERY_S
_CLASSES = ("2xx", "3xx", "4xx", "5xx")
_SOURCES = ("near", "redis", "replica", "primary")
_REQUESTS = metrics.REQUEST_SECONDS.described.name


class Point(NamedTuple):
    """Counters since the service started, at a Unix time in seconds."""

    at: float
    classes: Sequence[int]
    sources: Sequence[float]
    refused: float
    buckets: Sequence[int]


def point(totals: Totals, at: float) -> Point:
    classes = dict.fromkeys(_CLASSES, 0)
    buckets = [0] * (len(SECONDS) + 1)
    for (name, labels), spread in totals.spreads.items():
        if name == _REQUESTS and labels[2] in classes:
            classes[labels[2]] += sum(spread.counts)
            buckets = [a + b for a, b in zip(buckets, spread.counts, strict=True)]
    sources = [totals.counters.get((metrics.READS, (source,)), 0) for source in _SOURCES]
    refused = sum(
        value
        for (name, labels), value in totals.counters.items()
        if name == metrics.LIMITER.described.name and labels[0] == "refused"
    )
    return Point(at, list(classes.values()), sources, refused, buckets)


def charts(points: Sequence[Point]) -> dict[str, Any]:
    """Series with one value for each pair of consecutive points, None across a gap.

    Rates are per second, shares from 0 to 1, latencies in ms. ``percentiles`` cover the whole time.
    """
    steps = [_step(a, b) for a, b in pairwise(points)]
    names = steps[0].keys() if steps else ()
    latest = points[-1] if points else None
    spread = [] if latest is None else _less(latest.buckets, points[0].buckets)
    return {
        "at": [b.at for b in points[1:]],
        **{name: [step[name] for step in steps] for name in names},
        "percentiles": {f"p{p:g}": _ms(spread, p / 100) for p in (50, 90, 95, 99, 99.9)},
    }


def _step(a: Point, b: Point) -> dict[str, float | None]:
    seconds = b.at - a.at
    classes, sources = _less(b.classes, a.classes), _less(b.sources, a.sources)
    buckets = _less(b.buckets, a.buckets)
    restarted = min(*classes, *sources, *buckets) < 0
    if restarted or not 0 < seconds < _GAP_S:
        return dict.fromkeys(_STEP)
    reads = sum(sources)
    return {
        "requests": sum(classes) / seconds,
        "client_errors": classes[2] / seconds,
        "server_errors": classes[3] / seconds,
        "refused": max(0.0, b.refused - a.refused) / seconds,
        **{f"by_{n}": s / reads if reads else None for n, s in zip(_SOURCES, sources, strict=True)},
        "p50": _ms(buckets, 0.5),
        "p95": _ms(buckets, 0.95),
        "p99": _ms(buckets, 0.99),
    }


_STEP = (
    *("requests", "client_errors", "server_errors", "refused"),
    *(f"by_{source}" for source in _SOURCES),
    *("p50", "p95", "p99"),
)


def _less(now: Iterable[float], before: Iterable[float]) -> list[float]:
    return [a - b for a, b in zip(now, before, strict=True)]


def _ms(buckets: Sequence[float], share: float) -> float | None:
    """The percentile in ms, interpolated linearly within its bucket.

    None if there are no values. A value above the last bound is reported as that bound.
    """
    reached, sums = 0.0, []
    for count in buckets:
        reached += count
        sums.append(reached)
    if reached <= 0:
        return None
    wanted = share * reached
    bucket = bisect_left(sums, wanted)
    if bucket >= len(SECONDS):
        return SECONDS[-1] * 1000
    low = SECONDS[bucket - 1] if bucket else 0.0
    inside = (wanted - (sums[bucket - 1] if bucket else 0.0)) / buckets[bucket]
    return round((low + inside * (SECONDS[bucket] - low)) * 1000, 3)
