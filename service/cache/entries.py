"""Items in Redis: what the bytes under a key mean, and the only scripts that touch them.

A value is its head (epoch u32, version u64), its kind, and a rest that depends on the kind; all
numbers are big-endian, so that heads compare as bytes do (in Python; Lua must unpack them).

======== ================================================================================
item     born u32, content hash 8s, where data begins in the body u32, length of the
         owner u16, created and updated i64 in µs, the owner in UTF-8, the v1 body
tombstone, absent
         nothing; what is absent has version 0
marker   8 random bytes: an acknowledged write; whoever meets it asks the primary
permit   8 random bytes: somebody is about to fill; its version is 0
======== ================================================================================

Whoever wants to store an entry puts it over a marker or permit that it met or placed before it
looked at the database, by compare-and-set on all bytes. An empty key proves nothing, because
what was in it may have been evicted: only markers and permits enter one.
"""

import logging
import os
import re
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from service.cache.connection import Callback, Command
from service.cache.pipeline import RedisPipeline, Script
from service.model.errors import CacheUnavailable, Overloaded
from service.model.item import Item

logger = logging.getLogger(__name__)

ITEM, TOMBSTONE, ABSENT, MARKER, PERMIT = 1, 2, 3, 4, 5
# Where the kind is in a value: ``value[KIND_AT]``.
KIND_AT = 12

MARKER_MS = 30_000
PERMIT_MS = 10_000
# Long enough against a flood of requests for one id that is not there, too short to fill Redis.
MISSING_MS = 5_000

# Messages on it are the 16 bytes of ids; ``mark`` sends them.
CHANNEL = b"item:marked"

_HEAD = struct.Struct(">IQB")
_ITEM = struct.Struct(">IQBI8sIH")
_IDENTITY = struct.Struct(">IQBI")
_TIMES = struct.Struct(">qq")
_OWNER_AT = _ITEM.size + _TIMES.size
_NONCE_BYTES = 8
_SLIDE_EVERY_S = 600.0
_SLIDE_STEPS = 10
_SLIDE_SLOTS = 1 << 20
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_MARK, _SWAP, _SLIDE = Script.load("mark"), Script.load("swap"), Script.load("slide")
_SAME_RUN = Script.load("same_run")

# What the pipeline must be given, so that its first connection serves nothing old.
SCRIPTS = (_MARK, _SWAP, _SLIDE)
ON_CONNECT: tuple[Command, ...] = ((b"EVAL", _SAME_RUN.source, b"1", b"cache:run"),)


class ItemEntry:
    """A living item as its entry has it. ``content_hash`` is the second half of its tags.

    ``body`` is the v1 representation, ready to send, ``body[data_at:-1]`` its data.
    ``born_s`` is when it was filled, in Unix seconds of the worker that did.
    """

    __slots__ = (
        "_times",
        "body",
        "born_s",
        "content_hash",
        "data_at",
        "epoch",
        "owner_id",
        "version",
    )

    epoch: int
    version: int
    born_s: int
    content_hash: bytes
    data_at: int

    def __init__(self, value: bytes) -> None:
        self.epoch, self.version, _, self.born_s, self.content_hash, self.data_at, owner = (
            _unpack_item(value)
        )
        end = _OWNER_AT + owner
        self.owner_id = str(value[_OWNER_AT:end], "utf-8")
        self.body = value[end:]
        self._times = value[_ITEM.size : _OWNER_AT]

    @property
    def tag(self) -> tuple[int, str]:
        """As ``Item.tag``."""
        return self.version, self.content_hash.decode()

    @property
    def data(self) -> bytes:
        """The JSON text that any other representation wraps."""
        return self.body[self.data_at : -1]

    def item(self, item_id: bytes) -> Item:
        """The whole item; its times are read only here."""
        created, updated = _TIMES.unpack(self._times)
        return Item(
            item_id,
            self.owner_id,
            self.version,
            _UNIX + created * _MICROSECOND,
            _UNIX + updated * _MICROSECOND,
            self.data,
        )

    @property
    def identity(self) -> bytes:
        """Head, kind and birth: no other entry of the key has the same."""
        return _IDENTITY.pack(self.epoch, self.version, ITEM, self.born_s)


_unpack_item = _ITEM.unpack_from


def epoch_of(map_epoch: int, timeline: int) -> int:
    """One number that grows with a bucket's epoch in the shard map and its primary's timeline.

    Both are counted in 16 bits; OverflowError beyond, since a smaller epoch would be believed.
    """
    if not (0 <= map_epoch < 1 << 16 and 0 <= timeline < 1 << 16):
        raise OverflowError("an epoch has 16 bits")
    return map_epoch << 16 | timeline


def head_of(value: bytes) -> bytes:
    """Epoch and version; heads compare as bytes."""
    return value[:KIND_AT]


def numbers_of(value: bytes) -> tuple[int, int]:
    """Epoch and version."""
    epoch, version, _ = _HEAD.unpack_from(value)
    return epoch, version


def kind_of(value: bytes, epoch: int) -> int:
    """The kind of what GET returned; 0 for what counts as nothing and may be swapped away.

    That is whatever is of an epoch below ``epoch`` (markers and permits too: what they promise
    was about another history), or written by a release with other kinds.
    """
    if len(value) < _HEAD.size:
        return 0
    seen, _, kind = _HEAD.unpack_from(value)
    return kind if seen >= epoch and ITEM <= kind <= PERMIT else 0


def encode_item(epoch: int, item: Item, body: bytes, data_at: int, born_s: int) -> bytes:
    """The entry of a living item; ``body`` is its v1 representation, data at ``data_at``."""
    version, content_hash = item.tag
    owner = item.owner_id.encode()
    created = (item.created_at - _UNIX) // _MICROSECOND
    updated = (item.updated_at - _UNIX) // _MICROSECOND
    return b"%b%b%b%b" % (
        _ITEM.pack(epoch, version, ITEM, born_s, content_hash.encode(), data_at, len(owner)),
        _TIMES.pack(created, updated),
        owner,
        body,
    )


def encode_missing(epoch: int, tombstone: Item | None) -> bytes:
    """The entry of an id under which nothing lives: a deleted item, or None for none ever."""
    if tombstone is None:
        return _HEAD.pack(epoch, 0, ABSENT)
    return _HEAD.pack(epoch, tombstone.version, TOMBSTONE)


def new_marker(epoch: int, version: int) -> bytes:
    """A marker unlike any other."""
    return _HEAD.pack(epoch, version, MARKER) + os.urandom(_NONCE_BYTES)


def new_permit(epoch: int) -> bytes:
    """A permit unlike any other; ``epoch`` is the one the reader knows."""
    return _HEAD.pack(epoch, 0, PERMIT) + os.urandom(_NONCE_BYTES)


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
        # When ids were last prolonged, in tenths of that time, modulo 256. Ids that share a slot
        # by their last bytes keep each other from sliding: some are filled anew a little sooner.
        self._slid = bytearray([self._slide_step(clock()) + 128 & 255]) * _SLIDE_SLOTS

    def get(self, item_id: bytes, callback: Callback) -> None:
        """``callback`` gets the value's bytes, None, or a CacheUnavailable instance."""
        self._pipeline.send_callback((b"GET", _key(item_id)), callback)

    async def get_again(self, item_id: bytes) -> bytes | None:
        """``get`` for coroutines."""
        value: bytes | None = await self._pipeline.send((b"GET", _key(item_id)))
        return value

    async def mark(self, item_id: bytes, epoch: int, version: int) -> None:
        """Say that this version was committed: from now on no older one is read from here.

        Returns when Redis has said yes. Every call draws a marker of its own.
        """
        marker = new_marker(epoch, version)
        await self._pipeline.run_future(
            _MARK, (_key(item_id),), (marker, b"%d" % MARKER_MS, CHANNEL, item_id)
        )

    async def place_permit(self, item_id: bytes, permit: bytes, seen: bytes | None) -> Any:
        """Put a permit where GET found nothing, or ``seen`` of kind 0.

        True where it is placed; else what is there instead as GET would return it.
        """
        return await self._swap(item_id, seen or b"", permit, b"%d" % PERMIT_MS)

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
        return await self._swap(item_id, held, entry, ttl_ms) is True

    async def give_back(self, item_id: bytes, held: bytes) -> None:
        """Remove one's own permit, so that nobody waits for a fill that will not come.

        A marker stays: it is not a reader's to remove.
        """
        if held[KIND_AT] == PERMIT:
            await self._swap(item_id, held, b"", b"0")

    def slide(self, item_id: bytes, entry: ItemEntry) -> None:
        """Prolong an entry that was read, rarely; nothing to wait for, and failing is no harm."""
        now = self._clock()
        if now - entry.born_s < self._slide_every_s:
            return
        slot = int.from_bytes(item_id[-4:]) % _SLIDE_SLOTS
        step = self._slide_step(now)
        if (step - self._slid[slot] & 255) < _SLIDE_STEPS:
            return
        self._slid[slot] = step
        arguments = (entry.identity, self._ttl_ms, self._max_age_ms)
        with suppress(CacheUnavailable, Overloaded):
            self._pipeline.run(_SLIDE, (_key(item_id),), arguments, _ignore)

    def _slide_step(self, now: float) -> int:
        return int(now * _SLIDE_STEPS / self._slide_every_s) & 255

    async def _swap(self, item_id: bytes, expected: bytes, new: bytes, ttl_ms: bytes) -> Any:
        reply = await self._pipeline.run_future(_SWAP, (_key(item_id),), (expected, new, ttl_ms))
        return True if type(reply) is int else reply


async def warn_of_noeviction(pipeline: RedisPipeline) -> None:
    """Log a warning where Redis would refuse writes, markers too, instead of evicting."""
    with suppress(CacheUnavailable, Overloaded):
        memory = bytes(await pipeline.send((b"INFO", b"memory")))
        if re.search(rb"maxmemory_policy:noeviction", memory):
            logger.warning(
                "Redis has maxmemory-policy noeviction: once its memory is full the cache takes "
                "nothing more; set allkeys-lru (or volatile-lru) and maxmemory"
            )


def _key(item_id: bytes) -> bytes:
    return b"item:" + item_id


def _ignore(_: Any) -> None:
    pass
