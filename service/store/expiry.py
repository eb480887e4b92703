"""Rows whose time is over, removed from one shard in small batches."""

from psycopg.types.numeric import Int4, Int8

from service.store import statements
from service.store.shards import Shard

# Two numbers name these advisory locks, one those of requests: PostgreSQL keeps them apart.
_TURN = 0x73776565
_RECORDS = 1
_TOMBSTONES = 2


async def expire_records(shard: Shard, older_than_s: float, limit: int) -> int:
    """Delete up to ``limit`` idempotency records; how many there were, 0 while another is at it."""
    return await _delete(shard, statements.EXPIRE_RECORDS, older_than_s, _RECORDS, limit)


async def purge_tombstones(shard: Shard, older_than_s: float, limit: int) -> int:
    """The same for items that were deleted that long ago."""
    return await _delete(shard, statements.PURGE_TOMBSTONES, older_than_s, _TOMBSTONES, limit)


async def _delete(shard: Shard, statement: str, older_than_s: float, kind: int, limit: int) -> int:
    async with shard.primary() as connection:
        cursor = await connection.execute(
            statement, (float(older_than_s), Int4(_TURN), Int4(kind), Int8(limit))
        )
        return cursor.rowcount
