"""Reads the values that a worker's parts keep anyway, at each scrape."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service.access.limiter import Limiter
from service.access.tokens import TokenVerifier
from service.cache.near import NearCache
from service.cache.pipeline import RedisPipeline
from service.flow.breaker import State, Status
from service.flow.byte_budget import Budgets
from service.items.coherence import Stored
from service.items.reader import Reader
from service.observe import metrics
from service.observe.totals import Sample
from service.process.connections import OpenConnections
from service.store.facts import Facts
from service.store.reads import Reads
from service.store.shards import Shards

_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
_ROLES = {"primary": 2, "replica": 1, "unknown": 0}
_DESCRIPTORS = Path("/proc/self/fd")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a worker that are read."""

    reader: Reader
    reads: Reads
    near: NearCache[Stored]
    redis: RedisPipeline | None
    limits_redis: RedisPipeline | None
    limiter: Limiter
    shards: Shards
    budgets: Budgets
    tokens: TokenVerifier


def samples(parts: Parts, facts: Facts, connections: OpenConnections) -> Iterator[Sample]:
    """Their counters and current values."""
    yield from _of_reads(parts.reader, parts.reads)
    yield from _of_near_cache(parts.near, parts.reader)
    if parts.redis is not None:
        yield Sample(metrics.REDIS_CONNECTED, parts.redis.available)
        yield Sample(metrics.REDIS_REFUSED, bool(parts.redis.refusal))
    for node, status in breakers(parts).items():
        yield Sample(metrics.BREAKER_STATE, _STATES[status.state], (node,))
        yield Sample(metrics.BREAKER_OPENINGS, status.openings, (node,))
    for shard in parts.shards.all:
        yield Sample(metrics.COMMITS_HANGING, shard.hanging, (str(shard.number),))
        yield Sample(metrics.PRIMARIES_IGNORED, len(shard.rivals), (str(shard.number),))
    yield Sample(metrics.LIMITER_LOCAL, parts.limiter.local)
    yield Sample(metrics.LIMITER_WORKERS, parts.limiter.workers)
    yield Sample(metrics.LIMITER_KEYS, parts.limiter.keys)
    yield from _of_memory(parts)
    yield from _of_pools(parts.shards)
    yield from _of_facts(facts)
    if connections.number is not None:
        yield Sample(metrics.CONNECTIONS, connections.number)
    yield from _of_process()


def breakers(parts: Parts) -> Mapping[str, Status]:
    """All breakers of the worker, by the name of their dependency."""
    found = dict(parts.reads.statuses())
    for name, redis in (("redis", parts.redis), ("redis-limits", parts.limits_redis)):
        if redis is not None:
            found[name] = redis.breaker
    return found


def _of_reads(reader: Reader, reads: Reads) -> Iterator[Sample]:
    sources = {
        "near": reader.from_near,
        "redis": reader.from_redis,
        "replica": reads.from_replica,
        "primary": reads.from_primary,
    }
    for source, number in sources.items():
        yield Sample(metrics.READS, number, (source,))


def _of_near_cache(near: NearCache[Stored], reader: Reader) -> Iterator[Sample]:
    yield Sample(metrics.NEAR_HITS, reader.from_near)
    yield Sample(metrics.NEAR_MISSES, reader.not_near)
    yield Sample(metrics.NEAR_BYTES, near.held_bytes)
    yield Sample(metrics.NEAR_ENTRIES, len(near))
    yield Sample(metrics.NEAR_ON, near.on)


def _of_memory(parts: Parts) -> Iterator[Sample]:
    for budget in parts.budgets:
        yield Sample(metrics.HELD_BYTES, budget.used_bytes, (budget.name,))
        yield Sample(metrics.HELD_REFUSED, budget.refused, (budget.name,))
    yield Sample(metrics.HELD_BYTES, parts.tokens.cached_bytes, ("tokens",))
    yield Sample(metrics.HELD_BYTES, parts.limiter.leases.held_bytes, ("limiter",))


def _of_pools(shards: Shards) -> Iterator[Sample]:
    for node in (node for shard in shards.all for node in shard.nodes):
        stats, name = node.pool_stats(), node.name
        idle, size = stats.get("pool_available", 0), stats.get("pool_size", 0)
        yield Sample(metrics.POOL_CONNECTIONS, size - idle, (name, "used"))
        yield Sample(metrics.POOL_CONNECTIONS, idle, (name, "idle"))
        yield Sample(metrics.POOL_CONNECTIONS, stats.get("pool_max", 0), (name, "max"))
        yield Sample(metrics.POOL_WAITING, stats.get("requests_waiting", 0), (name,))
        yield Sample(metrics.POOL_QUEUED, stats.get("requests_queued", 0), (name,))
        yield Sample(metrics.POOL_WAITED, stats.get("requests_wait_ms", 0) / 1000, (name,))
        yield Sample(metrics.POOL_USED, stats.get("usage_ms", 0) / 1000, (name,))


def _of_facts(facts: Facts) -> Iterator[Sample]:
    for node in facts.nodes:
        yield Sample(metrics.NODE_ROLE, _ROLES[node.role], (node.name,))
        if node.timeline:
            yield Sample(metrics.NODE_TIMELINE, node.timeline, (node.name,))
        if node.lag_bytes is not None and node.lag_s is not None:
            yield Sample(metrics.LAG_BYTES, node.lag_bytes, (node.name,))
            yield Sample(metrics.LAG_SECONDS, node.lag_s, (node.name,))
    for shard, outbox in facts.outboxes.items():
        yield Sample(metrics.OUTBOX_ROWS, outbox.rows, (str(shard),))
        yield Sample(metrics.OUTBOX_AGE, outbox.oldest_s, (str(shard),))


def _of_process() -> Iterator[Sample]:
    yield Sample(metrics.WORKERS, 1)
    yield Sample(metrics.CPU, time.process_time())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    yield Sample(metrics.MEMORY, pages * _PAGE_BYTES)
    # Linux 6.2 and newer report the number of open files as the directory's size, older ones 0.
    files = _DESCRIPTORS.stat().st_size or sum(1 for _ in _DESCRIPTORS.iterdir())
    yield Sample(metrics.OPEN_FILES, files)
    yield Sample(metrics.BUILD, 1, _build())


@cache
def _build() -> tuple[str, ...]:
    return _version("hotshelf"), platform.python_version(), _version("granian")


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return "unknown"
