"""Committed changes that caches may not have been told of, one shard's table of them."""

from collections.abc import Sequence
from uuid import UUID

from psycopg.types.numeric import Int8

from service.model.change import Committed
from service.store.round_trip import round_trip
from service.store.shards import Shard

# Most rows. In no order, because sorting would read the whole table.
READ_OUTBOX = "SELECT item_id, version, epoch FROM cache_outbox LIMIT %b"

EPOCHS = "SELECT bucket, cache_epoch(bucket) FROM owned_buckets"

# Arrays of item id, version. `= ANY (ARRAY[x])` as in expiry.py.
CLEAR_OUTBOX = """
    DELETE FROM cache_outbox USING unnest(%b::uuid[], %b::bigint[]) AS announced (item_id, version)
     WHERE cache_outbox.item_id = ANY (ARRAY[announced.item_id])
       AND cache_outbox.version = ANY (ARRAY[announced.version])"""


async def read_outbox(shard: Shard, at_most: int) -> tuple[list[Committed], dict[int, int]]:
    """Rows in no order, and the epoch of each bucket that the shard owns.

    Locked rows too: a relay that stalls must not hide what it holds. Raises ShardUnavailable,
    Overloaded, DatabaseTimeout.
    """
    async with shard.primary() as connection:
        rows, epochs = await round_trip(connection, (READ_OUTBOX, (Int8(at_most),)), (EPOCHS, ()))
    left = [Committed(item_id.bytes, epoch, version) for item_id, version, epoch in rows]
    return left, {bucket: epoch for bucket, epoch in epochs}  # noqa: C416  # names the columns


async def clear_outbox(shard: Shard, told: Sequence[Committed]) -> None:
    """Delete the rows of changes that caches were told of; raises as ``read_outbox`` does."""
    ids = [UUID(bytes=change.item_id) for change in told]
    versions = [Int8(change.version) for change in told]
    async with shard.primary() as connection:
        await round_trip(connection, (CLEAR_OUTBOX, (ids, versions)))
