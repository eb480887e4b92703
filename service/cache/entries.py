"""Items in Redis: the only scripts that touch them, and what each of them is for.

Whoever wants to store an entry puts it over a marker or permit that it met or placed before it
looked at the database, by compare-and-set on all bytes. An empty key proves nothing, because
what was in it may have been evicted: only markers and permits enter one.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from service.cache.connection import Callback, Command
from service.cache.layout import ITEM, KIND_AT, MARKER, PERMIT, ItemEntry, head_of, new_marker
from service.cache.pipeline import RedisPipeline, Script
from service.model.errors import CacheUnavailable, Overloaded
from service.observe.metrics import CACHE_EVENTS

MARKER_MS = 30_000
PERMIT_MS = 10_000
# Long enough against a flood of requests for one id that is not there, too short to fill Redis.
MISSING_MS = 5_000

# Messages on it are the 16 bytes of ids; ``mark`` sends them.
CHANNEL = b"item:marked"

_SLIDE_EVERY_S = 600.0
# More ids than that are not remembered: the oldest may be prolonged again a little early.
_SLID_MAX = 10_000

_MARK, _SWAP, _SLIDE = Script.load("mark"), Script.load("swap"), Script.load("slide")

# What the pipeline must be given. The probe does all that a mark and a swap do, so that a Redis
# that would refuse them (full, read-only, a user without the right to one command) has no
# connection; it leaves nothing behind.
SCRIPTS = (_MARK, _SWAP, _SLIDE)
_PROBE_KEY, _PROBE_ID, _PROBE_MARKER = b"item:probe", bytes(16), new_marker(0, 0)
PROBE: tuple[Command, ...] = (
    _MARK.call((_PROBE_KEY,), (_PROBE_MARKER, b"1000", CHANNEL, _PROBE_ID)),
    _SWAP.call((_PROBE_KEY,), (_PROBE_MARKER, b"", b"0")),
)


class Entries:
    """The items of one Redis. All methods raise as ``RedisPipeline.send_callback`` does.

    An entry lives ``ttl_s`` from when it was last read and never longer than ``max_age_s``. A
    value of more than ``max_bytes`` is not stored.
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
        # When ids were last prolonged, the oldest first.
        self._slid: OrderedDict[bytes, float] = OrderedDict()

    def get(self, item_id: bytes, callback: Callback) -> None:
        """``callback`` gets the value's bytes, None, or a CacheUnavailable instance."""
        self._pipeline.send_callback((b"GET", self._key(item_id)), callback)

    async def get_again(self, item_id: bytes) -> bytes | None:
        """``get`` for coroutines."""
        value: bytes | None = await self._pipeline.send((b"GET", self._key(item_id)))
        return value

    async def mark(self, item_id: bytes, epoch: int, version: int) -> None:
        """Say that this version was committed: from now on no older one is read from here.

        Returns when Redis has said yes. Every call draws a marker of its own.
        """
        marker = new_marker(epoch, version)
        try:
            await self._pipeline.run_future(
                _MARK, (self._key(item_id),), (marker, b"%d" % MARKER_MS, CHANNEL, item_id)
            )
        except (CacheUnavailable, Overloaded):
            CACHE_EVENTS.add(1, "mark_failed")
            raise
        CACHE_EVENTS.add(1, "mark")

    async def place_permit(self, item_id: bytes, permit: bytes, seen: bytes | None) -> Any:
        """Put a permit where GET found nothing, or ``seen`` of kind 0.

        True where it is placed; else what is there instead as GET would return it.
        """
        there = await self._swap(item_id, seen or b"", permit, b"%d" % PERMIT_MS)
        CACHE_EVENTS.add(1, "permit" if there is True else "permit_lost")
        return there

    async def fill(self, item_id: bytes, held: bytes, entry: bytes) -> bool:
        """Store what was read after ``held``, a marker met or a permit placed, was seen.

        False where it is not stored: something else is there by now, the entry is older than the
        marker, or it is too large, and then a permit is given back.
        """
        assert held[KIND_AT] in (MARKER, PERMIT)
        if head_of(entry) < head_of(held):
            return False
        if len(entry) > self._max_bytes:
            await self.give_back(item_id, held)
            return False
        ttl_ms = self._ttl_ms if entry[KIND_AT] == ITEM else b"%d" % MISSING_MS
        stored = await self._swap(item_id, held, entry, ttl_ms) is True
        CACHE_EVENTS.add(1, "fill" if stored else "fill_refused")
        return stored

    async def give_back(self, item_id: bytes, held: bytes) -> None:
        """Remove one's own permit, so that nobody waits for a fill that will not come.

        A marker stays: it is not a reader's to remove.
        """
        CACHE_EVENTS.add(1, "fill_given_back")
        if held[KIND_AT] == PERMIT:
            await self._swap(item_id, held, b"", b"0")

    def slide(self, item_id: bytes, entry: ItemEntry) -> None:
        """Prolong an entry that was read, rarely; nothing to wait for, and failing is no harm."""
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

    async def _swap(self, item_id: bytes, expected: bytes, new: bytes, ttl_ms: bytes) -> Any:
        reply = await self._pipeline.run_future(
            _SWAP, (self._key(item_id),), (expected, new, ttl_ms)
        )
        return True if type(reply) is int else reply


def _ignore(_: Any) -> None:
    pass
