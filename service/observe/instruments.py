"""Counters and histograms of a worker, without locks, because one event loop owns them all.

prometheus-client's counters take a lock each, which is too slow for the hot path. Here a count is
an attribute that the caller increments, ``PASSED.value += 1``, and a distribution is native.
"""

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service import native

# 50 µs to 10 s: a near hit is below the first bound, a request near its deadline in the last.
SECONDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
# The label value under which combinations beyond an instrument's maximum are counted.
OTHER = "other"
_MAX_CHILDREN = 512
# An example is replaced at most this often.
_EXAMPLE_EVERY_S = 1.0


class Kind(enum.StrEnum):
    """Types of metrics, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(enum.StrEnum):
    """How a gauge of several workers is merged; counters and histograms add up."""

    SUM = "sum"
    MAX = "max"
    EACH = "each"  # a series per worker, under the worker's number


@dataclass(frozen=True, slots=True)
class Described:
    """A metric: ``text`` is its help text, ``buckets`` are a histogram's upper bounds."""

    name: str
    text: str
    kind: Kind
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = Merge.SUM


class Count(native.Count):
    """A number that only grows; ``name`` is the value of its first label."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name


class Distribution(native.Tally):
    """The number of values in each bucket; the last bucket has no upper bound.

    ``examples`` maps a bucket to a trace id, its value and the Unix time in seconds.
    """

    __slots__ = ("examples",)

    def __init__(self, _bounds: Sequence[float]) -> None:
        self.examples: dict[int, tuple[str, float, float]] = {}

    def observe_traced(self, value: float, trace_id: str) -> None:
        """As ``observe``; the trace also becomes the bucket's exemplar (OpenMetrics)."""
        self.observe(value)
        bucket, now = self.bucket(value), time.time()
        last = self.examples.get(bucket)
        if last is None or now - last[2] >= _EXAMPLE_EVERY_S:
            self.examples[bucket] = (trace_id, value, now)


C = TypeVar("C", Count, Distribution)


class _Instrument(Generic[C]):
    """One Count or Distribution for each combination of label values."""

    def __init__(self, described: Described) -> None:
        self.described = described
        self.children: dict[tuple[str, ...], C] = {}

    def _made(self, labels: tuple[str, ...]) -> C:
        raise NotImplementedError

    def of(self, *labels: str) -> C:
        """Labels must come from a fixed set; beyond the maximum, further ones share ``OTHER``."""
        child = self.children.get(labels)
        if child is None:
            assert len(labels) == len(self.described.labels)
            if len(self.children) >= _MAX_CHILDREN:
                labels = (OTHER,) * len(labels)
                return self.children.setdefault(labels, self._made(labels))
            child = self.children[labels] = self._made(labels)
        return child


class Counter(_Instrument[Count]):
    def _made(self, labels: tuple[str, ...]) -> Count:
        return Count(*labels[:1])

    def add(self, amount: float, *labels: str) -> None:
        self.of(*labels).value += amount


class Histogram(_Instrument[Distribution]):
    def _made(self, _labels: tuple[str, ...]) -> Distribution:
        return Distribution(self.described.buckets)


class Registry:
    """The instruments of one process, in order of their creation."""

    def __init__(self) -> None:
        self.described: dict[str, Described] = {}
        self.counters: list[Counter] = []
        self.histograms: list[Histogram] = []

    def _add(self, described: Described) -> Described:
        assert described.name not in self.described
        self.described[described.name] = described
        return described

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        counter = Counter(self._add(Described(name, text, Kind.COUNTER, labels)))
        self.counters.append(counter)
        return counter

    def histogram(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = SECONDS,
    ) -> Histogram:
        described = self._add(Described(name, text, Kind.HISTOGRAM, labels, buckets))
        histogram = Histogram(described)
        self.histograms.append(histogram)
        return histogram

    def sampled(
        self, name: str, text: str, labels: tuple[str, ...] = (), merge: Merge = Merge.SUM
    ) -> str:
        """The name of a metric whose values are read at each scrape (``Sample``)."""
        kind = Kind.COUNTER if name.endswith("_total") else Kind.GAUGE
        self._add(Described(name, text, kind, labels, merge=merge))
        return name
