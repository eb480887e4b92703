"""Committed changes that caches may not have been told of, one shard's table of them."""

from collections.abc import Sequence
from uuid import UUID

from service.store import statements
from service.store.idempotency import Committed
from service.store.shards import Shard


async def read_outbox(shard: Shard, at_most: int) -> list[Committed]:
    """Rows in no order. Locked ones too: a relay that stalls must not hide what it holds.

    Raises ShardUnavailable, Overloaded, DatabaseTimeout.
    """
    async with shard.primary() as connection:
        cursor = await connection.execute(statements.READ_OUTBOX, (at_most,))
        rows = await cursor.fetchall()
    return [Committed(row[0].bytes, row[2], row[1]) for row in rows]


async def clear_outbox(shard: Shard, told: Sequence[Committed]) -> None:
    """Delete the rows of changes that caches were told of; raises as ``read_outbox`` does."""
    ids = [UUID(bytes=change.item_id) for change in told]
    versions = [change.version for change in told]
    async with shard.primary() as connection:
        await connection.execute(statements.CLEAR_OUTBOX, (ids, versions))
