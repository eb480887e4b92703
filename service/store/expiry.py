"""Deletes expired rows from one shard in small batches."""

from typing import Any

import psycopg
from psycopg.types.numeric import Int4, Int8

from service.model.errors import InternalError
from service.store.shards import Shard

# The first number of these advisory locks. They cannot collide with those of idempotency keys,
# because PostgreSQL separates locks with two numbers from those with one.
_TURN = 0x73776565
_RECORDS = 1
_TOMBSTONES = 2
_ENDED = 3

# Age in seconds, both numbers of the lock, maximum of rows. At most one worker deletes at a time,
# and SKIP LOCKED leaves rows in use for the next round, so neither waits for the other. `= ANY
# (ARRAY[x])` is `= x` to indexes, but no condition for a hash or merge join, so that the planner
# cannot choose to join whole tables.
EXPIRE_RECORDS = """
    WITH old AS MATERIALIZED (
        SELECT bucket, caller, scope, key FROM idempotency_keys
         WHERE recorded_at < now() - make_interval(secs => %b)
           AND (SELECT pg_try_advisory_xact_lock(%b, %b))
         ORDER BY recorded_at LIMIT %b FOR UPDATE SKIP LOCKED)
    DELETE FROM idempotency_keys AS known USING old
     WHERE known.bucket = ANY (ARRAY[old.bucket]) AND known.caller = ANY (ARRAY[old.caller])
       AND known.scope = ANY (ARRAY[old.scope]) AND known.key = ANY (ARRAY[old.key])"""

PURGE_TOMBSTONES = """
    WITH old AS MATERIALIZED (
        SELECT id FROM items
         WHERE deleted_at < now() - make_interval(secs => %b)
           AND (SELECT pg_try_advisory_xact_lock(%b, %b))
         ORDER BY deleted_at LIMIT %b FOR UPDATE SKIP LOCKED)
    DELETE FROM items USING old WHERE items.id = ANY (ARRAY[old.id])"""


# Both numbers of the lock, most rows. Items of collections that were dropped, and those that have
# lived for their collection's time, become tombstones: caches are told, and an entity tag of what
# was there is never valid again. An item is not older than its last change, so those that have
# ended are found by the index of times of creation.
END_ITEMS = """
    WITH due AS MATERIALIZED (
        SELECT number, CASE WHEN name IS NULL THEN 'infinity' ELSE now() - make_interval(
                   secs => (definition ->> 'ttl_s')::double precision) END AS changed_before
          FROM collections
         WHERE (name IS NULL OR definition ->> 'ttl_s' IS NOT NULL)
           AND (SELECT pg_try_advisory_xact_lock(%b, %b))),
    ended AS MATERIALIZED (
        SELECT found.id FROM due CROSS JOIN LATERAL (
            SELECT id FROM items
             WHERE collection = due.number AND collection <> 0 AND data IS NOT NULL
               AND created_at < changed_before AND updated_at < changed_before
             ORDER BY created_at FOR UPDATE SKIP LOCKED) AS found
         LIMIT %b),
    changed AS (
        UPDATE items SET data = NULL, version = version + 1, updated_at = now(),
                         deleted_at = now()
          FROM ended WHERE items.id = ANY (ARRAY[ended.id])
        RETURNING items.id, version, right(items.tableoid::regclass::text, 4)::integer AS bucket)
    INSERT INTO cache_outbox (item_id, version, epoch)
    SELECT id, version, cache_epoch(bucket) FROM changed
    ON CONFLICT (item_id, version) DO UPDATE SET epoch = excluded.epoch"""


async def expire_records(shard: Shard, older_than_s: float, limit: int) -> int:
    """Delete up to ``limit`` idempotency records; returns how many were deleted.

    0 while another worker does it. Raises ShardUnavailable, Overloaded, DatabaseTimeout, and
    InternalError for any other error of PostgreSQL.
    """
    return await _delete(shard, EXPIRE_RECORDS, older_than_s, _RECORDS, limit)


async def purge_tombstones(shard: Shard, older_than_s: float, limit: int) -> int:
    """The same for tombstones of items deleted that long ago."""
    return await _delete(shard, PURGE_TOMBSTONES, older_than_s, _TOMBSTONES, limit)


async def end_items(shard: Shard, limit: int) -> int:
    """Make tombstones of up to ``limit`` items that have ended or whose collection was dropped."""
    return await _run(shard, END_ITEMS, (Int4(_TURN), Int4(_ENDED), Int8(limit)))


async def _delete(shard: Shard, statement: str, older_than_s: float, kind: int, limit: int) -> int:
    parameters = (float(older_than_s), Int4(_TURN), Int4(kind), Int8(limit))
    return await _run(shard, statement, parameters)


async def _run(shard: Shard, statement: str, parameters: tuple[Any, ...]) -> int:
    try:
        async with shard.primary() as connection:
            return (await connection.execute(statement, parameters)).rowcount
    except psycopg.Error as error:
        raise InternalError(f"PostgreSQL refused to expire rows ({error.sqlstate}).") from error
