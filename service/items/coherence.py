"""Reads that need more than one reply of Redis, and the rules for trusting cached entries.

The reader's side of the cache protocol (docs/cache-protocol.md): a miss, an invalidation, another
reader's fill lease, an owner without a read lease, Redis unreachable.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias

from service import native
from service.cache.entries import Entries
from service.cache.layout import (
    FILL_LEASE,
    INVALIDATION,
    ITEM,
    KIND_AT,
    ItemEntry,
    encode_item,
    encode_missing,
    epoch_of,
    kind_of,
    new_fill_lease,
    numbers_of,
)
from service.items.last_seen import LastSeen
from service.items.outbox import Outbox
from service.model.errors import (
    CacheUnavailable,
    Overloaded,
    ShardUnavailable,
)
from service.model.item import Item
from service.store.reads import Reading, Reads
from service.store.shards import BucketMoved, Shard, Shards

_LEASE_WAIT_S = 0.003
_LEASE_WAITS = 3


class Prepared(NamedTuple):
    """One representation of an item, ready to send; ``validators`` are the fields of a 304."""

    validators: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    body: bytes


# A living item in this worker: its entry, and the representations made of it.
Stored: TypeAlias = native.Stored
# None: there is no such item. The waiter raises an exception.
Result: TypeAlias = Stored | Exception | None
Waiter: TypeAlias = Callable[[Result], None]
# Each has the caller's subject.
Waiters: TypeAlias = list[tuple[str, Waiter]]
# A read of Coherence, and a method of Reads.
Get: TypeAlias = Callable[[bytes, Waiters], Coroutine[Any, Any, Stored | None]]
Query: TypeAlias = Callable[[Shard, bytes], Coroutine[Any, Any, Reading]]


class Coherence:
    """One worker's reads beyond a Redis hit; belongs to its event loop.

    ``entries`` None: there is no Redis. ``last_seen`` records the versions that databases return.
    ``render`` makes a living item's v1 body. All reads raise ShardUnavailable, DatabaseTimeout and
    Overloaded.
    """

    def __init__(
        self,
        shards: Shards,
        reads: Reads,
        outbox: Outbox,
        entries: Entries | None,
        last_seen: LastSeen,
        render: Callable[[Item], bytes],
    ) -> None:
        self._shards = shards
        self._reads = reads
        self._outbox = outbox
        self._entries = entries
        self._render = render
        self._last_seen = last_seen
        # Reads answered by an entry that another reader filled meanwhile, for metrics.
        self.from_redis = 0
        self._fills: set[asyncio.Task[None]] = set()

    def kind(self, item_id: bytes, value: bytes | None) -> int:
        """The value's kind; 0 for no value, and for one from before a failover or a move."""
        return 0 if value is None else kind_of(value, self._epoch_of(item_id))

    def has_read_lease(self, item_id: bytes) -> bool:
        """Whether owners may trust the reply to a GET that is sent now.

        Call it before the GET is sent, because a lease renewed afterwards does not cover the reply.
        """
        shard = self._shards.owner_of(item_id)
        return shard is not None and self._outbox.has_read_lease(shard)

    async def get_and_fill(
        self, seen: bytes | None, item_id: bytes, waiters: Waiters
    ) -> Stored | None:
        """After ``seen``, which is not an entry: read by the protocol, and fill if allowed."""
        try:
            held, owners_too = await self._hold(seen, item_id)
        except (CacheUnavailable, Overloaded):
            return await self.get_without_redis(item_id, waiters)
        kind = 0 if held is None else held[KIND_AT]
        if held is None:
            reading = await self._read(self._reads.read_fresh, item_id)
            return self._noted(item_id, await self._for_owners(item_id, reading, waiters))
        if kind == INVALIDATION:
            return await self._filling(item_id, held, self._reads.read_primary, waiters)
        if kind == FILL_LEASE:
            return await self._filling(item_id, held, self._reads.read_fresh, waiters)
        stored = Stored(ItemEntry(held), "redis") if kind == ITEM else None
        is_behind = self._last_seen.is_behind(item_id, *numbers_of(held))
        if is_behind or (not owners_too and owners(stored, waiters)):
            return await self.get_from_primary(item_id, waiters)
        self.from_redis += len(waiters)
        return stored

    async def _hold(self, seen: bytes | None, item_id: bytes) -> tuple[bytes | None, bool]:
        """A present invalidation, or a fill lease of ours: either gives the right to fill.

        Otherwise an entry stored meanwhile, and whether owners may trust it, or None after waiting
        in vain for another reader's fill.
        """
        assert self._entries is not None
        owners_too = False
        for _ in range(_LEASE_WAITS + 1):
            kind = self.kind(item_id, seen)
            if kind == 0:
                lease = new_fill_lease(self._epoch_of(item_id))
                owners_too = self.has_read_lease(item_id)
                there = await self._entries.acquire_lease(item_id, lease, seen)
                if there is True:
                    return lease, owners_too
                seen = there
            elif kind == FILL_LEASE:
                await asyncio.sleep(_LEASE_WAIT_S)
                owners_too = self.has_read_lease(item_id)
                seen = await self._entries.get_again(item_id)
            else:
                return seen, owners_too
        return None, False

    async def _filling(
        self, item_id: bytes, held: bytes, query: Query, waiters: Waiters
    ) -> Stored | None:
        """Read after ``held`` was seen; the answer does not wait for the fill.

        A reading of another timeline than expected fills nothing, because after a failover its node
        may be behind.
        """
        assert self._entries is not None
        known = numbers_of(held)[0] if held[KIND_AT] == FILL_LEASE else self._epoch_of(item_id)
        try:
            reading = await self._read(query, item_id)
            reading = await self._for_owners(item_id, reading, waiters)
        except BaseException:
            self._spawn(self._entries.release_lease(item_id, held))
            raise
        value = self._value(reading)
        if reading.proved and _epoch(reading) == known:
            self._spawn(self._entries.fill(item_id, held, value))
        else:
            self._spawn(self._entries.release_lease(item_id, held))
        return self._noted(item_id, reading, value)

    async def get_from_primary(self, item_id: bytes, _: Waiters) -> Stored | None:
        """The last acknowledged version."""
        return self._noted(item_id, await self._read(self._reads.read_primary, item_id))

    async def get_without_redis(self, item_id: bytes, waiters: Waiters) -> Stored | None:
        """From a replica within the lag limit; for the owner from the primary."""
        reading = await self._read(self._reads.read_any, item_id)
        owned = reading.item is not None and any(w[0] == reading.item.owner_id for w in waiters)
        behind = self._last_seen.is_behind(item_id, _epoch(reading), _version(reading))
        if not reading.proved and (owned or behind):
            reading = await self._read(self._reads.read_primary, item_id)
        return self._noted(item_id, reading)

    async def _for_owners(self, item_id: bytes, reading: Reading, waiters: Waiters) -> Reading:
        """Replace an unproved reading by the primary's for owners while it can be reached."""
        item = reading.item
        if reading.proved or item is None or all(w[0] != item.owner_id for w in waiters):
            return reading
        return await self._read(self._reads.read_primary, item_id)

    async def _read(self, query: Query, item_id: bytes) -> Reading:
        try:
            return await query(await self._shards.of(item_id), item_id)
        except BucketMoved:
            await self._shards.load_map()
        try:
            return await query(await self._shards.of(item_id), item_id)
        except BucketMoved:
            moving = "This item is moving to another shard."
            raise ShardUnavailable(moving, retry_after_s=1) from None

    def _value(self, reading: Reading) -> bytes:
        """The entry to be stored."""
        item, epoch = reading.item, _epoch(reading)
        if item is None or item.data is None:
            return encode_missing(epoch, item)
        body = self._render(item)
        data_at = len(body) - len(item.data) - 1
        return encode_item(epoch, item, body, data_at, int(time.time()))

    def _noted(self, item_id: bytes, reading: Reading, value: bytes | None = None) -> Stored | None:
        if reading.proved:
            self._last_seen.note(item_id, _epoch(reading), _version(reading))
        if reading.missing:
            return None
        return Stored(ItemEntry(value or self._value(reading)), reading.source)

    def _epoch_of(self, item_id: bytes) -> int:
        return self._outbox.epoch_of(native.bucket_of(item_id, self._shards.buckets))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(_quietly(work))
        self._fills.add(task)
        task.add_done_callback(self._fills.discard)


def owners(stored: Stored | None, waiters: Waiters) -> Waiters:
    """The waiters that may own the item; all of them if it is missing."""
    return [w for w in waiters if stored is None or w[0] == stored.entry.owner_id]


def _epoch(reading: Reading) -> int:
    return epoch_of(reading.map_epoch, reading.timeline)


def _version(reading: Reading) -> int:
    return 0 if reading.item is None else reading.item.version


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    """Ignore a failed fill, because its lease expires by itself."""
    with contextlib.suppress(CacheUnavailable, Overloaded):
        await work
