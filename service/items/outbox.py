"""Telling caches of committed changes: at once by the writer, or by any worker's relay.

The writer's side of the cache protocol (docs/cache-protocol.md). A change is acknowledged when
Redis has taken its marker, or when ``ACKNOWLEDGE_LATE_S`` have passed since its COMMIT: by then
no worker's lease of trust, renewed only by polls that began before it, lives any more, so that
owners ask the primary until a relay has told Redis.
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
# What one poll takes on; a backlog is worked off without pauses.
_BATCH = 1000


class Outbox:
    """One worker's share in telling caches. ``entries`` None: there is no Redis to be told."""

    def __init__(self, shards: Sequence[Shard], entries: Entries | None) -> None:
        self._shards = shards
        self._entries = entries
        self._clock = asyncio.get_running_loop().time
        self._trusted_until_s = [0.0 for _ in shards]
        self._epochs: dict[int, int] = {}
        self._told: list[list[Committed]] = [[] for _ in shards]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to relay what others left behind and to clear what was told."""
        for shard in self._shards:
            self._tasks += [
                asyncio.create_task(_every(POLL_S, partial(self._relay, shard))),
                asyncio.create_task(_every(_CLEAR_S, partial(self._clear, shard))),
            ]

    async def close(self) -> None:
        """Stop, and clear what is left; before the shards are closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*map(self._clear, self._shards), return_exceptions=True)

    def trusts(self, shard: Shard) -> bool:
        """Whether Redis is known to have been told of all changes acknowledged by now.

        Holds for a poll's ``LEASE_S`` from when it was sent, if all its marks succeeded.
        """
        return self._clock() < self._trusted_until_s[shard.number]

    def epoch_of(self, bucket: int) -> int:
        """The bucket's epoch as the last poll told it; 0, below all, before the first."""
        return self._epochs.get(bucket, 0)

    async def announce(self, shard: Shard, change: Committed) -> None:
        """Return when the change, whose COMMIT has just returned, may be acknowledged."""
        if self._entries is None:
            return
        acknowledge_at_s = self._clock() + ACKNOWLEDGE_LATE_S
        try:
            await self._entries.mark(change.item_id, change.epoch, change.version)
        except (CacheUnavailable, Overloaded):
            await asyncio.sleep(acknowledge_at_s - self._clock())
        else:
            self._told[shard.number].append(change)

    async def _relay(self, shard: Shard) -> None:
        """One poll, and more at once while there is more than a poll takes on."""
        while True:
            sent_s = self._clock()
            left, epochs = await read_outbox(shard, _BATCH)
            self._epochs.update(epochs)
            if left:
                with Root("relay", {"hotshelf.shard": shard.number, "hotshelf.rows": len(left)}):
                    await self._tell(shard, left)
            if len(left) < _BATCH:
                self._trusted_until_s[shard.number] = sent_s + LEASE_S
                return

    async def _tell(self, shard: Shard, left: Sequence[Committed]) -> None:
        if self._entries is not None:
            marks = (self._entries.mark(c.item_id, c.epoch, c.version) for c in left)
            await asyncio.gather(*marks)
        await clear_outbox(shard, left)

    async def _clear(self, shard: Shard) -> None:
        told, self._told[shard.number] = self._told[shard.number], []
        if told:
            # What fails is left to the relays, of which one will tell it again.
            await clear_outbox(shard, told)


async def _every(interval_s: float, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        with contextlib.suppress(HotshelfError, TimeoutError):
            await within(_STEP_TIMEOUT_S, step())
        await asyncio.sleep(interval_s)
