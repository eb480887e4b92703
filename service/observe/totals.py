"""The metrics of one worker in the form that workers exchange, and the sum over several.

A worker that takes the slot of one that ended continues its numbers, so a counter of the host
decreases only when the whole service restarts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import orjson

from service.observe.instruments import Described, Kind, Merge, Registry

# The name of a metric and the values of its labels.
Key: TypeAlias = tuple[str, tuple[str, ...]]


class Sample(NamedTuple):
    """A value read at a scrape; ``labels`` in the order of the metric's own."""

    name: str
    value: float
    labels: Sequence[str] = ()


@dataclass(slots=True)
class Spread:
    """A histogram's series: not cumulative, the last bucket without an upper bound."""

    counts: list[int]
    total: float
    examples: dict[int, tuple[str, float, float]] = field(default_factory=dict)

    def added(self, other: "Spread") -> "Spread":
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        examples = self.examples | {
            bucket: example
            for bucket, example in other.examples.items()
            if bucket not in self.examples or self.examples[bucket][2] < example[2]
        }
        return Spread(counts, self.total + other.total, examples)


@dataclass(slots=True)
class Totals:
    """Counters, gauges and histograms by name and labels.

    ``keys`` are the limiter's busiest, hashed: tokens a second, and the level. They are for the
    status page alone, since a metric's labels must not grow with the callers.
    """

    counters: dict[Key, float] = field(default_factory=dict)
    gauges: dict[Key, float] = field(default_factory=dict)
    spreads: dict[Key, Spread] = field(default_factory=dict)
    keys: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def taken(cls, registry: Registry, samples: Iterable[Sample]) -> "Totals":
        """The registry's current values and the samples. Raises KeyError for a sample whose metric
        the registry does not have.
        """
        totals = cls()
        for counter in registry.counters:
            name = counter.described.name
            for labels, count in counter.children.items():
                totals.counters[name, labels] = count.value
        for histogram in registry.histograms:
            name = histogram.described.name
            for labels, spread in histogram.children.items():
                if not any(spread.counts):
                    continue
                totals.spreads[name, labels] = Spread(
                    spread.counts, spread.total, spread.examples.copy()
                )
        for sample in samples:
            is_counter = registry.described[sample.name].kind is Kind.COUNTER
            where = totals.counters if is_counter else totals.gauges
            where[sample.name, tuple(sample.labels)] = float(sample.value)
        return totals

    def grow(self, other: "Totals") -> None:
        """Add the other's counters and histograms, not its gauges."""
        for key, value in other.counters.items():
            self.counters[key] = self.counters.get(key, 0) + value
        for key, spread in other.spreads.items():
            mine = self.spreads.get(key)
            same = mine is not None and len(mine.counts) == len(spread.counts)
            self.spreads[key] = mine.added(spread) if mine is not None and same else spread

    def encoded(self) -> bytes:
        return orjson.dumps(
            [
                [[*key, value] for key, value in self.counters.items()],
                [[*key, value] for key, value in self.gauges.items()],
                [
                    [*key, spread.counts, spread.total, list(spread.examples.items())]
                    for key, spread in self.spreads.items()
                ],
                self.keys,
            ]
        )

    @classmethod
    def decoded(cls, text: bytes) -> "Totals":
        counters, gauges, spreads, keys = orjson.loads(text)
        return cls(
            {(name, tuple(labels)): value for name, labels, value in counters},
            {(name, tuple(labels)): value for name, labels, value in gauges},
            {
                (name, tuple(labels)): Spread(counts, total, _examples(examples))
                for name, labels, counts, total, examples in spreads
            },
            keys,
        )


def _examples(pairs: list[Any]) -> dict[int, tuple[str, float, float]]:
    return {bucket: (trace_id, value, at) for bucket, (trace_id, value, at) in pairs}


def merged(
    described: Mapping[str, Described], living: Mapping[int, Totals], ended: Iterable[Totals]
) -> Totals:
    """The host's totals. ``living`` maps workers' numbers to theirs; workers that ended still
    count, but have no gauges. A gauge per worker gets the number as a further label.
    """
    host = Totals()
    for number, totals in living.items():
        host.grow(totals)
        for key, (speed, level) in totals.keys.items():
            other_speed, other_level = host.keys.get(key, (0.0, 0.0))
            host.keys[key] = [speed + other_speed, max(level, other_level)]
        for (name, labels), value in totals.gauges.items():
            merge = described[name].merge
            if merge is Merge.EACH:
                host.gauges[name, (*labels, str(number))] = value
                continue
            seen = host.gauges.get((name, labels))
            if seen is not None:
                value = seen + value if merge is Merge.SUM else max(seen, value)
            host.gauges[name, labels] = value
    for totals in ended:
        host.grow(totals)
    return host
