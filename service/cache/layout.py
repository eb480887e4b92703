"""The binary format of the values under an item's key in Redis.

A value is a version stamp (epoch u32, version u64), a kind, and a rest that depends on the kind;
all numbers are big-endian, so that stamps compare as bytes (in Python; Lua must unpack them).

============ ============================================================================
item         born u32, content hash 8s, where data begins in the body u32, length of the
             owner u16, collection u16, created and updated i64 in µs, the owner in UTF-8,
             the v1 body
tombstone, absent
             nothing; an absent one has version 0
invalidation 8 random bytes: an item was changed; its readers ask the primary
fill lease   8 random bytes: a reader is about to fill the key; its version is 0
============ ============================================================================

Kind 1 was an item whose content hash did not depend on its creation, kind 6 an item without its
collection. Both count as absent.
"""

import os
import struct

from service.model.item import Item, from_unix_us, unix_us

TOMBSTONE, ABSENT, INVALIDATION, FILL_LEASE, ITEM = 2, 3, 4, 5, 7
_KINDS = frozenset({TOMBSTONE, ABSENT, INVALIDATION, FILL_LEASE, ITEM})
# The kind of a value is ``value[KIND_AT]``.
KIND_AT = 12

_STAMP_AND_KIND = struct.Struct(">IQB")
_ITEM = struct.Struct(">IQBI8sIHH")
_IDENTITY = struct.Struct(">IQBI")
_TIMES = struct.Struct(">qq")
_OWNER_AT = _ITEM.size + _TIMES.size
_NONCE_BYTES = 8


class ItemEntry:
    """The entry of a living item. ``content_hash`` is the second half of its tags.

    ``body`` is the v1 representation, ready to send, ``body[data_at:-1]`` its data.
    ``born_s`` is when it was filled, in Unix seconds of the filling worker's clock.
    """

    __slots__ = (
        "_times",
        "body",
        "born_s",
        "collection",
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
    collection: int

    def __init__(self, value: bytes) -> None:
        (
            self.epoch,
            self.version,
            _,
            self.born_s,
            self.content_hash,
            self.data_at,
            owner,
            self.collection,
        ) = _unpack_item(value)
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
        """The JSON text of ``data``, from which other representations are made."""
        return self.body[self.data_at : -1]

    def item(self, item_id: bytes) -> Item:
        """The whole item."""
        created, updated = _TIMES.unpack(self._times)
        return Item(
            item_id,
            self.owner_id,
            self.version,
            from_unix_us(created),
            from_unix_us(updated),
            self.data,
            self.collection,
        )

    @property
    def updated_s(self) -> float:
        """When it was last changed, in Unix seconds of its primary."""
        _, updated = _TIMES.unpack(self._times)
        return float(updated) / 1e6

    @property
    def identity(self) -> bytes:
        """Version stamp, kind and fill time, which no other entry of the key has."""
        return _IDENTITY.pack(self.epoch, self.version, ITEM, self.born_s)


_unpack_item = _ITEM.unpack_from


def epoch_of(map_epoch: int, timeline: int) -> int:
    """One number that grows with a bucket's epoch in the shard map and its primary's timeline.

    Both have 16 bits. Raises OverflowError beyond, because a wrapped, smaller epoch would be
    trusted.
    """
    if not (0 <= map_epoch < 1 << 16 and 0 <= timeline < 1 << 16):
        raise OverflowError("an epoch has 16 bits")
    return map_epoch << 16 | timeline


def stamp_of(value: bytes) -> bytes:
    """The version stamp, epoch and version; stamps compare as bytes."""
    return value[:KIND_AT]


def numbers_of(value: bytes) -> tuple[int, int]:
    """Epoch and version."""
    epoch, version, _ = _STAMP_AND_KIND.unpack_from(value)
    return epoch, version


def kind_of(value: bytes, epoch: int) -> int:
    """The kind of what GET returned; 0 if it counts as absent and may be replaced.

    That is any value of an epoch below ``epoch``, even an invalidation or fill lease, because it
    refers to an abandoned history, and any value of an unknown kind, from another release.
    """
    if len(value) < _STAMP_AND_KIND.size:
        return 0
    seen, _, kind = _STAMP_AND_KIND.unpack_from(value)
    return kind if seen >= epoch and kind in _KINDS else 0


def encode_item(epoch: int, item: Item, body: bytes, data_at: int, born_s: int) -> bytes:
    """The entry of a living item; ``body`` is its v1 representation, data at ``data_at``."""
    version, content_hash = item.tag
    owner = item.owner_id.encode()
    created, updated = unix_us(item.created_at), unix_us(item.updated_at)
    numbers = (epoch, version, ITEM, born_s, content_hash.encode(), data_at, len(owner))
    return b"%b%b%b%b" % (
        _ITEM.pack(*numbers, item.collection),
        _TIMES.pack(created, updated),
        owner,
        body,
    )


def encode_missing(epoch: int, tombstone: Item | None) -> bytes:
    """The entry of an id without an item: its tombstone, or None if there never was one."""
    if tombstone is None:
        return _STAMP_AND_KIND.pack(epoch, 0, ABSENT)
    return _STAMP_AND_KIND.pack(epoch, tombstone.version, TOMBSTONE)


def new_invalidation(epoch: int, version: int) -> bytes:
    """A unique invalidation."""
    return _STAMP_AND_KIND.pack(epoch, version, INVALIDATION) + os.urandom(_NONCE_BYTES)


def new_fill_lease(epoch: int) -> bytes:
    """A unique fill lease; ``epoch`` is the one that the reader knows."""
    return _STAMP_AND_KIND.pack(epoch, 0, FILL_LEASE) + os.urandom(_NONCE_BYTES)
