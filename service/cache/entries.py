"""Items in Redis, and the only scripts that write them.

A reader stores an entry by compare-and-set, on all bytes, over an invalidation that it found or a
fill lease that it acquired before it read the database. An absent key proves nothing, because its
value may have been evicted, so only invalidations and fill leases are stored there.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from service.cache.connection import Callback, Command
from service.cache.layout import (
    FILL_LEASE,
    INVALIDATION,
    ITEM,
    KIND_AT,
    ItemEntry,
    new_invalidation,
    stamp_of,
)
from service.cache.pipeline import RedisPipeline, Script
from service.model.errors import CacheUnavailable, Overloaded
from service.observe.metrics import CACHE_EVENTS

INVALIDATION_MS = 30_000
FILL_LEASE_MS = 10_000
# Long enough to absorb a flood of requests for one absent id, too short to fill Redis.
MISSING_MS = 5_000

# ``invalidate`` publishes the 16 bytes of an id on it.
CHANNEL = b"item:marked"

_SLIDE_EVERY_S = 600.0
# Beyond this the oldest ids are forgotten, so that their TTL may be extended early.
_SLID_MAX = 10_000

# Their names in metrics are older than the files' names, and dashboards rely on them.
_INVALIDATE = Script.load("invalidate", "mark")
_COMPARE_AND_SET = Script.load("compare_and_set", "swap")
_SLIDE = Script.load("slide")

# For the pipeline. The probe runs an invalidation and a compare-and-set and leaves nothing behind,
# so that a Redis that would refuse them (full, read-only, missing permissions) is not used.
SCRIPTS = (_INVALIDATE, _COMPARE_AND_SET, _SLIDE)
_PROBE_KEY, _PROBE_ID, _PROBE_VALUE = b"item:probe", bytes(16), new_invalidation(0, 0)
PROBE: tuple[Command, ...] = (
    _INVALIDATE.call((_PROBE_KEY,), (_PROBE_VALUE, b"1000", CHANNEL, _PROBE_ID)),
    _COMPARE_AND_SET.call((_PROBE_KEY,), (_PROBE_VALUE, b"", b"0")),
)


class Entries:
    """The items of one Redis. All methods raise as ``RedisPipeline.send_callback`` does.

    An entry is kept for ``ttl_s`` after its last read, but never longer than ``max_age_s``. A value
    of more than ``max_bytes`` is not stored.
    """

    def __init__(
        self,
        pipeline: RedisPipeline,
        *,
        ttl_s: float = 3600.0,
        max_age_s: float = 86400.0,
        max_bytes: int = 1 << 18,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pipeline = pipeline
        self._ttl_ms = b"%d" % round(min(ttl_s, max_age_s) * 1000)
        self._max_age_ms = b"%d" % round(max_age_s * 1000)
        self._max_bytes = max_bytes
        self._clock = clock
        self._slide_every_s = min(_SLIDE_EVERY_S, ttl_s / 6)
        # The time of each id's last extension, the oldest first.
        self._slid: OrderedDict[bytes, float] = OrderedDict()

    def get(self, item_id: bytes, callback: Callback) -> None:
        """``callback`` gets the value's bytes, None, or a CacheUnavailable instance."""
        self._pipeline.send_callback((b"GET", self._key(item_id)), callback)

    async def get_again(self, item_id: bytes) -> bytes | None:
        """``get`` for coroutines."""
        value: bytes | None = await self._pipeline.send((b"GET", self._key(item_id)))
        return value

    async def invalidate(self, item_id: bytes, epoch: int, version: int) -> None:
        """Record that this version was committed: from now on no older one is read from Redis.

        Returns when Redis has confirmed it. Each call's invalidation has new random bytes.
        """
        invalidation = new_invalidation(epoch, version)
        try:
            await self._pipeline.run_future(
                _INVALIDATE,
                (self._key(item_id),),
                (invalidation, b"%d" % INVALIDATION_MS, CHANNEL, item_id),
            )
        except (CacheUnavailable, Overloaded):
            CACHE_EVENTS.add(1, "mark_failed")
            raise
        CACHE_EVENTS.add(1, "mark")

    async def acquire_lease(self, item_id: bytes, lease: bytes, seen: bytes | None) -> Any:
        """Store a fill lease where GET found nothing, or ``seen`` of kind 0.

        True if it was acquired; otherwise the present value, as GET would return it.
        """
        ttl_ms = b"%d" % FILL_LEASE_MS
        there = await self._compare_and_set(item_id, seen or b"", lease, ttl_ms)
        CACHE_EVENTS.add(1, "permit" if there is True else "permit_lost")
        return there

    async def fill(self, item_id: bytes, held: bytes, entry: bytes) -> bool:
        """Store what was read after ``held``, a found invalidation or an acquired fill lease.

        False if it was not stored: the value has changed, the entry is older than the invalidation,
        or it is too large, in which case a lease is released.
        """
        assert held[KIND_AT] in (INVALIDATION, FILL_LEASE)
        if stamp_of(entry) < stamp_of(held):
            return False
        if len(entry) > self._max_bytes:
            await self.release_lease(item_id, held)
            return False
        ttl_ms = self._ttl_ms if entry[KIND_AT] == ITEM else b"%d" % MISSING_MS
        stored = await self._compare_and_set(item_id, held, entry, ttl_ms) is True
        CACHE_EVENTS.add(1, "fill" if stored else "fill_refused")
        return stored

    async def release_lease(self, item_id: bytes, held: bytes) -> None:
        """Remove our own fill lease, so that no reader waits for a fill that will not come.

        An invalidation stays, because readers must not remove it.
        """
        CACHE_EVENTS.add(1, "fill_given_back")
        if held[KIND_AT] == FILL_LEASE:
            await self._compare_and_set(item_id, held, b"", b"0")

    def slide(self, item_id: bytes, entry: ItemEntry) -> None:
        """Extend the TTL of an entry that was read, at most every ten minutes; never raises."""
        now = self._clock()
        if now - entry.born_s < self._slide_every_s:
            return
        if now - self._slid.get(item_id, 0.0) < self._slide_every_s:
            return
        self._slid[item_id] = now
        self._slid.move_to_end(item_id)
        if len(self._slid) > _SLID_MAX:
            self._slid.popitem(last=False)
        arguments = (entry.identity, self._ttl_ms, self._max_age_ms)
        with suppress(CacheUnavailable, Overloaded):
            self._pipeline.run(_SLIDE, (self._key(item_id),), arguments, _ignore)

    def _key(self, item_id: bytes) -> bytes:
        return b"item:" + self._pipeline.run_name + item_id

    async def _compare_and_set(
        self, item_id: bytes, expected: bytes, new: bytes, ttl_ms: bytes
    ) -> Any:
        reply = await self._pipeline.run_future(
            _COMPARE_AND_SET, (self._key(item_id),), (expected, new, ttl_ms)
        )
        return True if type(reply) is int else reply


def _ignore(_: Any) -> None:
    pass
