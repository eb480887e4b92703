"""An item, as used by all layers below HTTP."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from service import native

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def unix_us(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly."""
    return (moment - _UNIX) // _MICROSECOND


def from_unix_us(microseconds: int) -> datetime:
    """The inverse of ``unix_us``."""
    return _UNIX + microseconds * _MICROSECOND


class Item(NamedTuple):
    """One stored version of an item.

    ``id`` is the ULID's 16 bytes. ``data`` is the JSON text as PostgreSQL's jsonb writes it,
    UTF-8, never parsed (numbers keep every digit); None for a tombstone, which a deletion leaves.
    Times are UTC with microseconds. ``version`` counts from 1. ``collection`` is its collection's
    number.
    """

    id: bytes
    owner_id: str
    version: int
    created_at: datetime
    updated_at: datetime
    data: bytes | None
    collection: int = 0

    @property
    def tag(self) -> tuple[int, str]:
        """What all entity tags of this version have in common: version and content hash.

        The hash depends on the creation too: the versions of another item under the same id,
        once the tombstone was removed, begin at 1 again.
        """
        assert self.data is not None
        return self.version, native.etag_hash(self.data, unix_us(self.created_at) % (1 << 64))

    @property
    def deleted(self) -> bool:
        return self.data is None
