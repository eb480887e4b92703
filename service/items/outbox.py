"""Invalidates caches after a COMMIT: at once by the writer, or later by any worker's relay.

The writer's side of the cache protocol (docs/cache-protocol.md). A change is acknowledged when
Redis has confirmed its invalidation, or ``ACKNOWLEDGE_LATE_S`` after its COMMIT, because all read
leases have expired by then: a poll of the outbox renews them only if all rows it found were
relayed. Without a read lease, owners are answered from the primary.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from service.cache.entries import Entries
from service.flow.deadline import within
from service.model.change import Committed
from service.model.errors import CacheUnavailable, HotshelfError, Overloaded
from service.observe.tracing import Root
from service.store.outbox import clear_outbox, read_outbox
from service.store.shards import Shard

POLL_S = 0.1
LEASE_S = 0.3
ACKNOWLEDGE_LATE_S = 0.31
_CLEAR_S = 0.05
_STEP_TIMEOUT_S = 1.0
# Rows per poll; after a full one the next begins without a pause.
_BATCH = 1000


class Outbox:
    """One worker's invalidations and its relay. ``entries`` None: there is no Redis."""

    def __init__(self, shards: Sequence[Shard], entries: Entries | None) -> None:
        self._shards = shards
        self._entries = entries
        self._clock = asyncio.get_running_loop().time
        self._lease_until_s = [0.0 for _ in shards]
        self._epochs: dict[int, int] = {}
        self._announced: list[list[Committed]] = [[] for _ in shards]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to relay rows that dead writers left, and to delete rows of announced changes."""
        for shard in self._shards:
            self._tasks += [
                asyncio.create_task(_every(POLL_S, partial(self._relay, shard))),
                asyncio.create_task(_every(_CLEAR_S, partial(self._clear, shard))),
            ]

    async def close(self) -> None:
        """Stop, and delete the remaining rows; call it before the shards are closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*map(self._clear, self._shards), return_exceptions=True)

    def has_read_lease(self, shard: Shard) -> bool:
        """Whether this worker has a read lease: Redis has no entry older than an acknowledged
        write.

        A poll grants it for ``LEASE_S`` from its sending, if all rows it found were relayed.
        """
        return self._clock() < self._lease_until_s[shard.number]

    def epoch_of(self, bucket: int) -> int:
        """The bucket's epoch as of the last poll; 0, below all, before the first."""
        return self._epochs.get(bucket, 0)

    async def announce(self, shard: Shard, change: Committed) -> None:
        """Invalidate; returns when the change, just committed, may be acknowledged."""
        if self._entries is None:
            return
        acknowledge_at_s = self._clock() + ACKNOWLEDGE_LATE_S
        try:
            await self._entries.invalidate(change.item_id, change.epoch, change.version)
        except (CacheUnavailable, Overloaded):
            await asyncio.sleep(acknowledge_at_s - self._clock())
        else:
            self._announced[shard.number].append(change)

    async def _relay(self, shard: Shard) -> None:
        """One poll, and further ones at once while polls are full."""
        while True:
            sent_s = self._clock()
            left, epochs = await read_outbox(shard, _BATCH)
            self._epochs.update(epochs)
            if left:
                with Root("relay", {"hotshelf.shard": shard.number, "hotshelf.rows": len(left)}):
                    await self._invalidate(shard, left)
            if len(left) < _BATCH:
                self._lease_until_s[shard.number] = sent_s + LEASE_S
                return

    async def _invalidate(self, shard: Shard, left: Sequence[Committed]) -> None:
        if self._entries is not None:
            invalidations = (self._entries.invalidate(c.item_id, c.epoch, c.version) for c in left)
            await asyncio.gather(*invalidations)
        await clear_outbox(shard, left)

    async def _clear(self, shard: Shard) -> None:
        announced, self._announced[shard.number] = self._announced[shard.number], []
        if announced:
            # If this fails, a relay finds the rows and announces the changes again.
            await clear_outbox(shard, announced)


async def _every(interval_s: float, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        with contextlib.suppress(HotshelfError, TimeoutError):
            await within(_STEP_TIMEOUT_S, step())
        await asyncio.sleep(interval_s)
