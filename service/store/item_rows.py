"""The columns of an item, and the conversion of a row to an Item."""

from typing import Any

from service.model.item import Item

ITEM_COLUMNS = "id, owner_id, version, created_at, updated_at, data, collection"


def item_of(row: tuple[Any, ...]) -> Item:
    """The item in a row of ``ITEM_COLUMNS``."""
    return Item(row[0].bytes, *row[1:])
