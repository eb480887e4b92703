"""GET /metrics: the numbers of all workers, whichever of them is asked."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson

from service.access import scopes
from service.access.limiter import Limiter
from service.access.tokens import TokenVerifier
from service.api.request import Reply, RequestContext
from service.cache.near import NearCache
from service.cache.pipeline import RedisPipeline
from service.flow.breaker import State
from service.flow.byte_budget import Budgets
from service.items.coherence import Stored
from service.items.reader import Reader
from service.observe.metrics import MEDIA_TYPE, Sample, exposition
from service.observe.requests import RequestCounts
from service.process.worker_board import WorkerBoard
from service.store.reads import Reads
from service.store.shards import Shards

_WRITE_EVERY_S = 1.0
_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
_FIELDS = [("content-type", MEDIA_TYPE), ("cache-control", "no-store")]


class Metrics:
    """Takes samples when it is asked, and once a second for the other workers.

    For whoever asks from this machine, and callers with the admin scope: who may not is
    turned away by the gate (api/routes.py) or here.
    """

    def __init__(self, take: Callable[[], Iterable[Sample]]) -> None:
        self._take = take
        self._board = WorkerBoard()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        self._board.close()

    async def get(self, context: RequestContext) -> Reply:
        """What this worker counts at this moment, and what the others did a second ago at most."""
        if context.caller is not None:
            scopes.require(context.caller, scopes.ADMIN)
        by_worker = {os.getpid(): self._published()}
        for worker, notice in self._board.others().items():
            by_worker[worker] = [Sample(*sample) for sample in orjson.loads(notice)]
        return Reply(200, _FIELDS, exposition(dict(sorted(by_worker.items()))))

    def _published(self) -> list[Sample]:
        """What is shown here is what others show from now on: counters never seem to go back."""
        taken = list(self._take())
        self._board.write(orjson.dumps([tuple(sample) for sample in taken]))
        return taken

    async def _write(self) -> None:
        while True:
            self._published()
            await asyncio.sleep(_WRITE_EVERY_S)


def samples(
    requests: RequestCounts,
    shards: Shards,
    reader: Reader,
    reads: Reads,
    near: NearCache[Stored],
    redis: RedisPipeline | None,
    limiter: Limiter,
    budgets: Budgets,
    tokens: TokenVerifier,
) -> Iterator[Sample]:
    """What the parts of a worker have counted so far."""
    for labels, number in requests.counted():
        yield Sample("hotshelf_requests_total", number, labels)
    yield from _of_reads(reader, reads)
    yield from _of_near_cache(near, reader)
    for shard in shards.all:
        yield Sample("hotshelf_commits_hanging", shard.hanging, (str(shard.number),))
        yield Sample("hotshelf_primaries_ignored", len(shard.rivals), (str(shard.number),))
    breakers = reads.statuses()
    if redis is not None:
        breakers["redis"] = redis.breaker
        yield Sample("hotshelf_redis_connected", redis.available)
        yield Sample("hotshelf_redis_writes_refused", bool(redis.refusal))
    for node, status in breakers.items():
        yield Sample("hotshelf_breaker_state", _STATES[status.state], (node,))
        yield Sample("hotshelf_breaker_openings_total", status.openings, (node,))
    yield Sample("hotshelf_limiter_local", limiter.local)
    yield Sample("hotshelf_limiter_workers", limiter.workers)
    for budget in budgets:
        yield Sample("hotshelf_memory_bytes", budget.used_bytes, (budget.name,))
        yield Sample("hotshelf_memory_refused_total", budget.refused, (budget.name,))
    yield Sample("hotshelf_memory_bytes", tokens.cached_bytes, ("tokens",))
    yield from _of_process()


def _of_reads(reader: Reader, reads: Reads) -> Iterator[Sample]:
    sources = {
        "near": reader.from_near,
        "redis": reader.from_redis,
        "replica": reads.from_replica,
        "primary": reads.from_primary,
    }
    for source, number in sources.items():
        yield Sample("hotshelf_reads_total", number, (source,))


def _of_near_cache(near: NearCache[Stored], reader: Reader) -> Iterator[Sample]:
    yield Sample("hotshelf_near_cache_hits_total", reader.from_near)
    yield Sample("hotshelf_near_cache_misses_total", reader.not_near)
    yield Sample("hotshelf_near_cache_bytes", near.held_bytes)
    yield Sample("hotshelf_near_cache_entries", len(near))
    yield Sample("hotshelf_near_cache_on", near.on)


def _of_process() -> Iterator[Sample]:
    yield Sample("hotshelf_worker_cpu_seconds_total", time.process_time())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    yield Sample("hotshelf_worker_memory_bytes", pages * os.sysconf("SC_PAGE_SIZE"))
