"""Which items a caller may know of: by the collection's definition as it is when it is answered.

What is not visible is answered like what is not there. Nothing of this is in a cache, so that a
definition that changes between a read and a fill cannot make an entry wrong.
"""

from service.cache.layout import ItemEntry
from service.model.caller import Caller
from service.model.collection import Collection, Read
from service.model.item import Item
from service.model.query import ALL_ITEMS, Extent


def is_plain(collection: Collection) -> bool:
    """Whether all its items are visible to all who may read, for as long as they are there."""
    definition = collection.definition
    return definition.read is not Read.OWNER and definition.ttl_s is None


def is_visible(
    collection: Collection, caller: Caller | None, entry: ItemEntry, now_s: float
) -> bool:
    """Whether the item is of the collection, has not ended, and is this reader's to know of."""
    if entry.collection != collection.number:
        return False
    ttl_s = collection.definition.ttl_s
    if ttl_s is not None and entry.updated_s + ttl_s <= now_s:
        return False
    return _is_open_to(collection, caller, entry.owner_id)


def visible(collection: Collection, caller: Caller, row: Item | None, now_s: float) -> Item | None:
    """The item in a row, if it is a living one that is visible in the collection."""
    if row is None or row.deleted or is_hidden(collection, caller, row):
        return None
    ttl_s = collection.definition.ttl_s
    if ttl_s is not None and row.updated_at.timestamp() + ttl_s <= now_s:
        return None
    return row


def is_hidden(collection: Collection, caller: Caller, row: Item) -> bool:
    """Whether the row, be it a tombstone, is in another collection or not the caller's to know."""
    if row.collection != collection.number:
        return True
    return not _is_open_to(collection, caller, row.owner_id)


def extent_of(collection: Collection, caller: Caller | None) -> Extent:
    """What a list may hold for a caller."""
    definition = collection.definition
    if not collection.number:
        return ALL_ITEMS
    is_open = definition.read is not Read.OWNER or (caller is not None and caller.is_admin)
    owner_id = None if is_open else ("" if caller is None else caller.subject)
    return Extent(collection.number, owner_id, definition.ttl_s)


def _is_open_to(collection: Collection, caller: Caller | None, owner_id: str) -> bool:
    if collection.definition.read is not Read.OWNER:
        return True
    return caller is not None and (owner_id == caller.subject or caller.is_admin)
