"""Every metric the service has, and their text for Prometheus.

Nothing here is called for a request: whoever counts keeps plain integers, which are read when
somebody asks for them. docs/operations.md has the same table.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# As Prometheus 2 and 3 both read it.
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Described(NamedTuple):
    """A metric; one whose name ends in ``_total`` only grows while its worker lives."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """A value; ``labels`` in the order of the metric's own."""

    name: str
    value: float
    labels: Sequence[str] = ()


# Each has the label ``worker`` besides, the process id.
TABLE = (
    Described(
        "hotshelf_requests_total",
        "Answers sent, by method, route and class of status (2xx).",
        ("method", "route", "status"),
    ),
    Described(
        "hotshelf_reads_total",
        "Reads of one item, by what answered: near, redis, replica or primary.",
        ("source",),
    ),
    Described("hotshelf_near_cache_hits_total", "Reads that the near cache answered."),
    Described("hotshelf_near_cache_misses_total", "Reads that had to ask Redis or a database."),
    Described("hotshelf_near_cache_bytes", "Bytes that the near cache counts as held."),
    Described("hotshelf_near_cache_entries", "Items that the near cache holds."),
    Described("hotshelf_near_cache_on", "1 while messages arrive and it may hold anything."),
    Described("hotshelf_breaker_state", "0 closed, 1 half-open, 2 open.", ("node",)),
    Described("hotshelf_breaker_openings_total", "How often the breaker opened.", ("node",)),
    Described(
        "hotshelf_primaries_ignored",
        "Nodes that take writes and are not the primary: former ones that came back.",
        ("shard",),
    ),
    Described(
        "hotshelf_commits_hanging",
        "Writes that were given up and that the primary has not ended: a missing standby, mostly.",
        ("shard",),
    ),
    Described("hotshelf_redis_connected", "1 while a connection is in use for commands."),
    Described(
        "hotshelf_redis_writes_refused",
        "1 for 3 s after Redis answered a command with an error (OOM, NOPERM, …).",
    ),
    Described("hotshelf_limiter_local", "1 while limits are each worker's own share of them."),
    Described("hotshelf_limiter_workers", "How many workers share the limits."),
    Described("hotshelf_memory_bytes", "Bytes held: bodies, batches, answers, tokens.", ("kind",)),
    Described("hotshelf_memory_refused_total", "Requests answered 503 because of that.", ("kind",)),
    Described("hotshelf_worker_cpu_seconds_total", "CPU time of the worker process."),
    Described("hotshelf_worker_memory_bytes", "Resident memory of the worker process."),
)


def markdown_table() -> str:
    """As in docs/operations.md."""
    rows = [f"| `{m.name}` | {', '.join(m.labels)} | {m.text} |" for m in TABLE]
    return "\n".join(["| metric | labels | what it says |", "|---|---|---|", *rows])


def exposition(by_worker: Mapping[int, Sequence[Sample]]) -> bytes:
    """The text for the samples of each worker, which are named by their process ids."""
    registry = CollectorRegistry()
    registry.register(_Families(by_worker))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, by_worker: Mapping[int, Sequence[Sample]]) -> None:
        self._by_worker = by_worker

    def collect(self) -> Iterable[Metric]:
        families = {metric.name: _family(metric) for metric in TABLE}
        for worker, samples in self._by_worker.items():
            for sample in samples:
                families[sample.name].add_metric((*sample.labels, str(worker)), sample.value)
        return families.values()


def _family(metric: Described) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
    return kind(metric.name, metric.text, labels=(*metric.labels, "worker"))
