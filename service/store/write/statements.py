"""SQL of item writes: locks, idempotency records, changes and outbox rows.

Values are binary parameters (``%b``); the comment above a statement lists them in order. "Held"
means that another transaction, with a request of the same idempotency key, has the key's advisory
lock.
"""

from service.model.change import Kind
from service.store.item_rows import ITEM_COLUMNS

# How long a record is valid, in seconds, by the primary's clock, because workers' clocks differ.
_EXPIRED = "known.recorded_at < now() - make_interval(secs => %b)"
_KEY_COLUMNS = "bucket, caller, scope, key"
_RECORD = f"{_KEY_COLUMNS}, fingerprint, outcome, recorded_at"
_RECORD_OF_ITEM = f"{_RECORD}, item_id, owner_id, version, item_created_at, data_hash, result"
_RECORD_VALUES = "%b::integer, %b::text, %b::bytea, %b::text, %b::bytea, %b::text, now()"

# Collection, version of its definition: fails unless a write was checked with the current
# definition (migrations/0008_collections.sql).
CHECK_DEFINITION = "SELECT check_definition(%b, %b)"
DEFINITION_CHANGED = "HS001"

# Milliseconds, as text: the limit of each later statement of this transaction.
LIMIT_STATEMENTS = "SELECT set_config('statement_timeout', %b::text, true)"

# --- POST: any number of new items in one statement

# Arrays of lock, bucket, caller, key, fingerprint, id, payload, collection; then the records'
# lifetime.
# `free` is false while another request holds the key's lock. If a key is free but no item was made,
# there is a live record. Rows are unordered. OFFSET 0 because otherwise the payload would be parsed
# twice, once for each use.
CREATE_ITEMS = f"""
    WITH asked AS MATERIALIZED (
        SELECT r.*, j.data, j.data::text AS body, pg_try_advisory_xact_lock(r.lock) AS free
          FROM unnest(%b::bigint[], %b::integer[], %b::text[], %b::text[], %b::bytea[],
                      %b::uuid[], %b::text[], %b::smallint[])
               AS r (lock, bucket, caller, key, fingerprint, id, payload, collection)
         CROSS JOIN LATERAL (SELECT r.payload::jsonb AS data OFFSET 0) AS j),
    claimed AS (
        INSERT INTO idempotency_keys AS known ({_RECORD_OF_ITEM})
        SELECT bucket, caller, '', key, fingerprint, 'created', now(),
               id, NULL, 1, now(), hashtextextended(body, 0), NULL
          FROM asked WHERE free
        ON CONFLICT ({_KEY_COLUMNS}) DO UPDATE
           SET fingerprint = excluded.fingerprint, outcome = excluded.outcome,
               recorded_at = excluded.recorded_at, item_id = excluded.item_id,
               owner_id = excluded.owner_id, version = excluded.version,
               item_created_at = excluded.item_created_at, data_hash = excluded.data_hash,
               result = NULL, problem = NULL
         WHERE {_EXPIRED}
        RETURNING item_id),
    made AS (
        INSERT INTO items ({ITEM_COLUMNS})
        SELECT id, caller, 1, now(), now(), data, collection FROM asked JOIN claimed ON item_id = id
        RETURNING id)
    SELECT uuid_send(asked.id), free, made.id IS NOT NULL, now(), body
      FROM asked LEFT JOIN made USING (id)"""

# Arrays of bucket, caller, key, fingerprint, id, payload. The live records of POSTs; the body is
# rebuilt from the payload only if the fingerprint is that of the same request. OFFSET 0 as in
# CREATE_ITEMS.
READ_CREATED = """
    SELECT r.id, known.fingerprint, known.item_id, known.version, known.item_created_at,
           known.recorded_at, known.body, hashtextextended(known.body, 0) = known.data_hash
      FROM unnest(%b::integer[], %b::text[], %b::text[], %b::bytea[], %b::uuid[], %b::text[])
           AS r (bucket, caller, key, fingerprint, id, payload)
     CROSS JOIN LATERAL (
        SELECT *, CASE WHEN r.fingerprint = fingerprint THEN r.payload::jsonb::text END AS body
          FROM idempotency_keys
         WHERE (bucket, caller, scope, key) = (r.bucket, r.caller, '', r.key) OFFSET 0) AS known"""

# --- Locks and records of changes, one request at a time

# Lock number.
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%b)"

# Item id.
LOCK_ITEM = f"SELECT {ITEM_COLUMNS} FROM items WHERE id = %b FOR UPDATE"

# Item id, lock number. Only with the key's lock, because a request that has to wait for its
# concurrent duplicate must not wait for the row, which the duplicate has locked.
LOCK_ITEM_IF_FREE = f"""
    SELECT {ITEM_COLUMNS} FROM items
     WHERE id = %b AND pg_try_advisory_xact_lock(%b) FOR UPDATE"""

# The same for requests that fail with 55P03 instead of waiting for a row.
NOWAIT = {lock: f"{lock} NOWAIT" for lock in (LOCK_ITEM, LOCK_ITEM_IF_FREE)}

# Bucket. Its epoch, null if it is not owned here (in the snapshot of the locked row); and the
# transaction's time, id and timeline, for TRANSACTION_STATUS.
TRANSACTION = """
    SELECT cache_epoch(%b), now(),
           pg_current_xact_id()::text, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"""

# Bucket, caller, scope, key, lifetime of records. The bucket's epoch, and the live record or nulls.
READ_RECORD = f"""
    SELECT cache_epoch(asked.bucket),
           known.fingerprint, known.outcome, known.item_id, known.owner_id, known.version,
           known.item_created_at, known.recorded_at, known.data_hash, known.result::text,
           known.problem::text
      FROM (SELECT %b::integer AS bucket) AS asked
      LEFT JOIN idempotency_keys AS known
        ON (known.bucket, known.caller, known.scope, known.key) = (asked.bucket, %b, %b, %b)
       AND NOT {_EXPIRED}"""

# Payload. Its text as jsonb, and the text's hash.
AS_STORED = "SELECT body, hashtextextended(body, 0) FROM (SELECT %b::jsonb::text AS body) AS j"

# --- Locks and records of several requests, each of another item; `key` is empty without one

# Arrays of id, key, lock number. Unlocked rows of requests whose key is not held: SKIP LOCKED and
# the try-lock prevent one request of the group from blocking all others.
LOCK_FREE_ITEMS = f"""
    WITH asked AS MATERIALIZED (
        SELECT r.*, key = '' OR pg_try_advisory_xact_lock(lock) AS free
          FROM unnest(%b::uuid[], %b::text[], %b::bigint[]) AS r (id, key, lock))
    SELECT found.* FROM asked CROSS JOIN LATERAL (
        SELECT {ITEM_COLUMNS} FROM items
         WHERE items.id = asked.id AND asked.free FOR UPDATE SKIP LOCKED) AS found"""

# Arrays of id, bucket, caller, scope, key; lifetime of records. The requests without a live record,
# with their buckets' epochs. OFFSET 0 keeps the planner from joining the whole table of records.
UNRECORDED = f"""
    SELECT id, cache_epoch(asked.bucket)
      FROM unnest(%b::uuid[], %b::integer[], %b::text[], %b::bytea[], %b::text[])
           AS asked (id, bucket, caller, scope, key)
     WHERE asked.key = '' OR NOT EXISTS (
        SELECT FROM idempotency_keys AS known
         WHERE (known.bucket, known.caller, known.scope, known.key)
             = (asked.bucket, asked.caller, asked.scope, asked.key)
           AND NOT {_EXPIRED} OFFSET 0)"""

# --- Changes of one item

# Id, owner, payload, collection, version of the item that has expired (0: none has). The version
# of a tombstone continues, because an entity tag of the deleted item must never be valid again.
CREATE_ITEM = f"""
    INSERT INTO items (id, owner_id, data, version, created_at, updated_at, collection)
    VALUES (%b, %b, %b::jsonb, 1, now(), now(), %b)
    ON CONFLICT (id) DO UPDATE
       SET owner_id = excluded.owner_id, data = excluded.data, version = items.version + 1,
           created_at = now(), updated_at = now(), deleted_at = NULL
     WHERE items.collection = excluded.collection
       AND (items.data IS NULL OR items.version = %b)
    RETURNING {ITEM_COLUMNS}"""

# Payload, id.
REPLACE_DATA = f"""
    UPDATE items SET data = %b::jsonb, version = version + 1, updated_at = now()
     WHERE id = %b
    RETURNING {ITEM_COLUMNS}"""

# Id.
DELETE_ITEM = f"""
    UPDATE items SET data = NULL, version = version + 1, updated_at = now(), deleted_at = now()
     WHERE id = %b
    RETURNING {ITEM_COLUMNS}"""

# --- Records and outbox rows, written with the change

# Lifetime of records. There can be no live record, because the key's lock is held and none was
# found. If there were one, the NULL would violate the column's constraint and fail the transaction,
# which is better than a second change under one key.
_REPLACE_EXPIRED = f"""
    ON CONFLICT ({_KEY_COLUMNS}) DO UPDATE
       SET fingerprint = CASE WHEN {_EXPIRED} THEN excluded.fingerprint END,
           outcome = excluded.outcome, recorded_at = excluded.recorded_at,
           item_id = excluded.item_id, owner_id = excluded.owner_id, version = excluded.version,
           item_created_at = excluded.item_created_at, data_hash = excluded.data_hash,
           result = excluded.result, problem = excluded.problem"""

# Bucket, caller, scope, key, fingerprint, error code, problem as jsonb; lifetime of records.
RECORD_PROBLEM = f"""
    INSERT INTO idempotency_keys AS known ({_RECORD}, problem)
    VALUES ({_RECORD_VALUES}, %b){_REPLACE_EXPIRED}"""

_ANNOUNCE = """
        INSERT INTO cache_outbox (item_id, version, epoch)
        SELECT id, version, {epoch} FROM {changed}
        ON CONFLICT (item_id, version) DO UPDATE SET epoch = excluded.epoch"""
_ANNOUNCE_ONE = _ANNOUNCE.format(epoch="%b::bigint", changed="changed")


def announced(change: str) -> str:
    """A change of one item with its outbox row. The change's parameters, then the epoch."""
    return f"""
    WITH changed AS ({change}),
    outbox AS ({_ANNOUNCE_ONE})
    SELECT {ITEM_COLUMNS} FROM changed"""


def recorded(change: str) -> str:
    """A change of one item with its outbox row and its idempotency record.

    The change's parameters; the epoch; bucket, caller, scope, key, fingerprint and outcome of the
    record; the caller again (the owner is stored only if it differs); whether the result is stored;
    the lifetime of records in seconds.
    """
    return f"""
    WITH changed AS ({change}),
    outbox AS ({_ANNOUNCE_ONE}),
    kept AS (
        INSERT INTO idempotency_keys AS known ({_RECORD_OF_ITEM})
        SELECT {_RECORD_VALUES}, id, nullif(owner_id, %b::text), version, created_at,
               hashtextextended(data::text, 0), CASE WHEN %b::boolean THEN data END
          FROM changed{_REPLACE_EXPIRED})
    SELECT {ITEM_COLUMNS} FROM changed"""


CHANGES: dict[Kind, str] = {
    "created": CREATE_ITEM,
    "changed": REPLACE_DATA,
    "deleted": DELETE_ITEM,
}
ANNOUNCED = {kind: announced(change) for kind, change in CHANGES.items()}
RECORDED = {kind: recorded(change) for kind, change in CHANGES.items()}

# Arrays of id, payload (empty: delete), epoch, outcome, whether the result is kept, bucket, caller,
# scope, key, fingerprint; lifetime of records. Changes of rows that are locked. An INSERT whose
# conflict is certain, because an UPDATE's join might be planned as one with all partitions.
CHANGE_ITEMS = f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::text[], %b::boolean[],
                             %b::integer[], %b::text[], %b::bytea[], %b::text[], %b::bytea[])
               AS r (id, payload, epoch, outcome, keeps_result,
                     bucket, caller, scope, key, fingerprint)),
    changed AS (
        INSERT INTO items ({ITEM_COLUMNS}, deleted_at)
        SELECT id, '', 1, now(), now(), nullif(payload, '')::jsonb, 0,
               CASE WHEN payload = '' THEN now() END
          FROM asked
        ON CONFLICT (id) DO UPDATE
           SET data = excluded.data, version = items.version + 1, updated_at = now(),
               deleted_at = excluded.deleted_at
        RETURNING {ITEM_COLUMNS}),
    outbox AS ({_ANNOUNCE.format(epoch="epoch", changed="changed JOIN asked USING (id)")}),
    kept AS (
        INSERT INTO idempotency_keys AS known ({_RECORD_OF_ITEM})
        SELECT bucket, caller, scope, key, fingerprint, outcome, now(), id,
               nullif(owner_id, caller), version, created_at,
               hashtextextended(data::text, 0), CASE WHEN keeps_result THEN data END
          FROM changed JOIN asked USING (id) WHERE key <> ''{_REPLACE_EXPIRED})
    SELECT {ITEM_COLUMNS} FROM changed"""

# --- The outcome of a COMMIT

# Timeline, transaction id. Null on another timeline, because the id may be another transaction's
# there.
TRANSACTION_STATUS = """
    SELECT CASE WHEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) = %b
                THEN pg_xact_status(%b::xid8) END"""

# In a transaction of its own, so that its COMMIT waits for the synchronous replicas again.
WAIT_FOR_REPLICAS = "SELECT pg_logical_emit_message(true, 'hotshelf', '')"
