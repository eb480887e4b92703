"""Items written to PostgreSQL, each change in one local transaction of the item's shard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from service.model.item import Item
from service.store import statements
from service.store.nodes import Connection
from service.store.reads import item_of
from service.store.shards import Shard


class LockedItem:
    """One id inside an open transaction, its row locked if there is one.

    ``current`` is the item before the change (a tombstone counts), or None.
    """

    def __init__(self, connection: Connection, item_id: bytes, current: Item | None) -> None:
        self._connection = connection
        self._id = UUID(bytes=item_id)
        self.current = current

    async def create(self, owner_id: str, data: bytes) -> Item | None:
        """Insert, or revive a tombstone; None if another transaction was faster."""
        return await self._change(statements.CREATE_ITEM, (self._id, owner_id, data.decode()))

    async def replace(self, data: bytes) -> Item:
        """New data under the next version. The row must be there."""
        changed = await self._change(statements.REPLACE_DATA, (data.decode(), self._id))
        assert changed is not None
        return changed

    async def delete(self) -> Item:
        """Leave a tombstone under the next version. The row must be there."""
        changed = await self._change(statements.DELETE_ITEM, (self._id,))
        assert changed is not None
        return changed

    async def _change(self, statement: str, parameters: tuple[object, ...]) -> Item | None:
        cursor = await self._connection.execute(statement, parameters)
        row = await cursor.fetchone()
        return None if row is None else item_of(row)


@asynccontextmanager
async def locked_item(shard: Shard, item_id: bytes) -> AsyncIterator[LockedItem]:
    """A transaction on the primary that holds the item's row; commits unless an error passes."""
    async with shard.primary() as connection, connection.transaction():
        cursor = await connection.execute(statements.LOCK_ITEM, (UUID(bytes=item_id),))
        row = await cursor.fetchone()
        yield LockedItem(connection, item_id, None if row is None else item_of(row))


async def insert_item(shard: Shard, item_id: bytes, owner_id: str, data: bytes) -> Item:
    """A new item under an id that was just minted: one statement, one round trip."""
    async with shard.primary() as connection:
        cursor = await connection.execute(
            statements.CREATE_ITEM, (UUID(bytes=item_id), owner_id, data.decode())
        )
        row = await cursor.fetchone()
    assert row is not None
    return item_of(row)
