"""Items read from PostgreSQL."""

from typing import Any
from uuid import UUID

from service.model.item import Item
from service.store import statements
from service.store.shards import Shard


def item_of(row: tuple[Any, ...]) -> Item:
    """The item in a row of ``statements.ITEM_COLUMNS``."""
    return Item(row[0].bytes, *row[1:])


async def read_item(shard: Shard, item_id: bytes) -> Item | None:
    """The item as the primary has it, a tombstone too; None where there never was one.

    Raises ShardUnavailable, DatabaseTimeout, Overloaded.
    """
    async with shard.primary() as connection:
        cursor = await connection.execute(statements.READ_ITEM, (UUID(bytes=item_id),))
        row = await cursor.fetchone()
    return None if row is None else item_of(row)
