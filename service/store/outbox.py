"""The outbox of one shard: committed changes that may not have been announced to caches."""

from collections.abc import Sequence
from uuid import UUID

from psycopg.types.numeric import Int8

from service.model.change import Committed
from service.store.round_trip import round_trip
from service.store.shards import Shard

# Maximum of rows. Unordered, because sorting would read the whole table.
READ_OUTBOX = "SELECT item_id, version, epoch FROM cache_outbox LIMIT %b"

EPOCHS = "SELECT bucket, cache_epoch(bucket) FROM owned_buckets"

# Arrays of item id, version. `= ANY (ARRAY[x])` as in expiry.py.
CLEAR_OUTBOX = """
    DELETE FROM cache_outbox USING unnest(%b::uuid[], %b::bigint[]) AS announced (item_id, version)
     WHERE cache_outbox.item_id = ANY (ARRAY[announced.item_id])
       AND cache_outbox.version = ANY (ARRAY[announced.version])"""


# Without waiting for a standby, because a row restored by a failover is merely announced again.
COMMIT_LOCALLY = "SELECT set_config('synchronous_commit', 'local', true)"


async def read_outbox(shard: Shard, at_most: int) -> tuple[list[Committed], dict[int, int]]:
    """Unordered rows, and the epoch of each bucket that the shard owns.

    Locked rows are included, because a stalled relay must not hide its rows. Raises
    ShardUnavailable, Overloaded, DatabaseTimeout.
    """
    async with shard.primary(reading=True) as connection:
        rows, epochs = await round_trip(connection, (READ_OUTBOX, (Int8(at_most),)), (EPOCHS, ()))
    left = [Committed(item_id.bytes, epoch, version) for item_id, version, epoch in rows]
    return left, {bucket: epoch for bucket, epoch in epochs}  # noqa: C416  # names the columns


async def clear_outbox(shard: Shard, announced: Sequence[Committed]) -> None:
    """Delete the rows of announced changes; raises as ``read_outbox`` does."""
    ids = [UUID(bytes=change.item_id) for change in announced]
    versions = [Int8(change.version) for change in announced]
    async with shard.primary(reading=True) as connection:
        await round_trip(connection, (COMMIT_LOCALLY, ()), (CLEAR_OUTBOX, (ids, versions)))
