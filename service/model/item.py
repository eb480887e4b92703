"""An item, as used by all layers below HTTP."""

from datetime import datetime
from typing import NamedTuple

from service import native


class Item(NamedTuple):
    """One stored version of an item.

    ``id`` is the ULID's 16 bytes. ``data`` is the JSON text as PostgreSQL's jsonb writes it,
    UTF-8, never parsed (numbers keep every digit); None for a tombstone, which a deletion leaves.
    Times are UTC with microseconds. ``version`` counts from 1.
    """

    id: bytes
    owner_id: str
    version: int
    created_at: datetime
    updated_at: datetime
    data: bytes | None

    @property
    def tag(self) -> tuple[int, str]:
        """Version and content hash, which all entity tags of this version share."""
        assert self.data is not None
        return self.version, native.etag_hash(self.data)

    @property
    def deleted(self) -> bool:
        return self.data is None
