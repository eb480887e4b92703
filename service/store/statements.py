"""Every SQL statement that runs per request. Parameters only; no text is ever spliced in."""

from service.store.item_rows import ITEM_COLUMNS

# Binary parameters from here on (%b): a text array would have to be quoted, and read again.

# A row for the bucket if it is owned here, told by the same snapshot as whether the item is there.
READ_OWNED = """
    SELECT %b::uuid, owner_id, version, created_at, updated_at, data, owned_buckets.epoch
      FROM owned_buckets LEFT JOIN items ON items.id = %b
     WHERE bucket = %b"""

# A row for every id, each looked up by itself in its own partition: OFFSET keeps the planner from
# joining whole tables where they are small or not analyzed, and `= ANY` would ask all partitions.
READ_MANY_OWNED = """
    SELECT asked.id, owner_id, version, created_at, updated_at, data, owned_buckets.epoch
      FROM unnest(%b::uuid[], %b::integer[]) AS asked (id, bucket)
      LEFT JOIN owned_buckets USING (bucket)
      LEFT JOIN LATERAL (
        SELECT owner_id, version, created_at, updated_at, data FROM items
         WHERE items.id = asked.id OFFSET 0) AS found ON true"""

# Where the primary is: what was committed before lies below this, on this timeline.
WAL_POSITION = """
    SELECT pg_current_wal_flush_lsn(), left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"""

# Whether this replica has replayed that, of the same history: it receives the primary's timeline,
# which a replica that has gone another way could not. Null where it receives nothing, and for a
# database user without pg_read_all_stats.
HAS_REPLAYED = """
    SELECT pg_last_wal_replay_lsn() >= %b::pg_lsn
       AND (SELECT received_tli FROM pg_stat_wal_receiver) = %b::integer"""

# The record of a request under an idempotency key that ran out is as good as none. It is the
# primary's clock that counts.
_EXPIRED = "known.recorded_at < now() - make_interval(secs => %b)"
_RECORD = "bucket, caller, scope, key, fingerprint, outcome, recorded_at"
_RECORD_OF_ITEM = f"{_RECORD}, item_id, owner_id, version, item_created_at, data_hash, result"
_RECORD_VALUES = "%b::integer, %b::text, %b::bytea, %b::text, %b::bytea, %b::text, now()"

# One round trip for any number of new items. A key whose twin runs elsewhere is not free; a key
# that is free and makes nothing has a record. Rows come in any order.
CREATE_ITEMS = f"""
    WITH asked AS MATERIALIZED (
        SELECT r.*, j.data, j.data::text AS body, pg_try_advisory_xact_lock(r.lock) AS free
          FROM unnest(%b::bigint[], %b::integer[], %b::text[], %b::text[], %b::bytea[],
                      %b::uuid[], %b::text[])
               AS r (lock, bucket, caller, key, fingerprint, id, payload)
         CROSS JOIN LATERAL (SELECT r.payload::jsonb AS data OFFSET 0) AS j),
    claimed AS (
        INSERT INTO idempotency_keys AS known ({_RECORD_OF_ITEM})
        SELECT bucket, caller, '', key, fingerprint, 'created', now(),
               id, NULL, 1, now(), hashtextextended(body, 0), NULL
          FROM asked WHERE free
        ON CONFLICT (bucket, caller, scope, key) DO UPDATE
           SET fingerprint = excluded.fingerprint, outcome = excluded.outcome,
               recorded_at = excluded.recorded_at, item_id = excluded.item_id,
               owner_id = excluded.owner_id, version = excluded.version,
               item_created_at = excluded.item_created_at, data_hash = excluded.data_hash,
               result = NULL, problem = NULL
         WHERE {_EXPIRED}
        RETURNING item_id),
    made AS (
        INSERT INTO items ({ITEM_COLUMNS})
        SELECT id, caller, 1, now(), now(), data FROM asked JOIN claimed ON item_id = id
        RETURNING id)
    SELECT uuid_send(asked.id), free, made.id IS NOT NULL, now(), body
      FROM asked LEFT JOIN made USING (id)"""

# The records of POSTs, each with the body that its payload makes if it is the same request.
# OFFSET as above.
READ_CREATED = """
    SELECT r.id, known.fingerprint, known.item_id, known.version, known.item_created_at,
           known.recorded_at, known.body, hashtextextended(known.body, 0) = known.data_hash
      FROM unnest(%b::integer[], %b::text[], %b::text[], %b::bytea[], %b::uuid[], %b::text[])
           AS r (bucket, caller, key, fingerprint, id, payload)
     CROSS JOIN LATERAL (
        SELECT *, CASE WHEN r.fingerprint = fingerprint THEN r.payload::jsonb::text END AS body
          FROM idempotency_keys
         WHERE (bucket, caller, scope, key) = (r.bucket, r.caller, '', r.key) OFFSET 0) AS known"""

# What follows is for several requests, no two of them for one item; `key` is empty without one.

# Rows that are free, under lock. Who has one keeps nobody waiting, and neither does a twin.
LOCK_FREE_ITEMS = f"""
    WITH asked AS MATERIALIZED (
        SELECT r.*, key = '' OR pg_try_advisory_xact_lock(lock) AS free
          FROM unnest(%b::uuid[], %b::text[], %b::bigint[]) AS r (id, key, lock))
    SELECT found.* FROM asked CROSS JOIN LATERAL (
        SELECT {ITEM_COLUMNS} FROM items
         WHERE items.id = asked.id AND asked.free FOR UPDATE SKIP LOCKED) AS found"""

# Those without a record, and their buckets' epochs. OFFSET as above.
UNRECORDED = f"""
    SELECT id, cache_epoch(asked.bucket)
      FROM unnest(%b::uuid[], %b::integer[], %b::text[], %b::bytea[], %b::text[])
           AS asked (id, bucket, caller, scope, key)
     WHERE asked.key = '' OR NOT EXISTS (
        SELECT FROM idempotency_keys AS known
         WHERE (known.bucket, known.caller, known.scope, known.key)
             = (asked.bucket, asked.caller, asked.scope, asked.key)
           AND NOT {_EXPIRED} OFFSET 0)"""

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%b)"

LOCK_ITEM = f"SELECT {ITEM_COLUMNS} FROM items WHERE id = %b FOR UPDATE"

# Who has to wait for a twin shall not wait for the row that the twin holds.
LOCK_ITEM_IF_FREE = f"""
    SELECT {ITEM_COLUMNS} FROM items
     WHERE id = %b AND pg_try_advisory_xact_lock(%b) FOR UPDATE"""

# For who shall not wait for a row.
NOWAIT = {lock: f"{lock} NOWAIT" for lock in (LOCK_ITEM, LOCK_ITEM_IF_FREE)}

# The bucket's epoch, null where it is not ours, told by the same snapshot as that there is no
# row; and how to find out afterwards what became of this transaction.
TRANSACTION = """
    SELECT cache_epoch(%b), now(),
           pg_current_xact_id()::text, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"""

# Both answers for a request with a key.
READ_RECORD = f"""
    SELECT cache_epoch(asked.bucket), now(),
           known.fingerprint, known.outcome, known.item_id, known.owner_id, known.version,
           known.item_created_at, known.recorded_at, known.data_hash, known.result::text,
           known.problem::text
      FROM (SELECT %b::integer AS bucket) AS asked
      LEFT JOIN idempotency_keys AS known
        ON (known.bucket, known.caller, known.scope, known.key) = (asked.bucket, %b, %b, %b)
       AND NOT {_EXPIRED}"""

# Null on another timeline, where the number may belong to another transaction.
TRANSACTION_STATUS = """
    SELECT CASE WHEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) = %b
                THEN pg_xact_status(%b::xid8) END"""

AS_STORED = "SELECT body, hashtextextended(body, 0) FROM (SELECT %b::jsonb::text AS body) AS j"

# Written with nothing else: its own COMMIT waits for the synchronous replicas once more.
WAIT_FOR_REPLICAS = "SELECT pg_logical_emit_message(true, 'hotshelf', '')"

# A tombstone goes on counting its version, so that tags of the deleted item stay dead.
CREATE_ITEM = f"""
    INSERT INTO items (id, owner_id, data, version, created_at, updated_at)
    VALUES (%b, %b, %b::jsonb, 1, now(), now())
    ON CONFLICT (id) DO UPDATE
       SET owner_id = excluded.owner_id, data = excluded.data, version = items.version + 1,
           created_at = now(), updated_at = now(), deleted_at = NULL
     WHERE items.data IS NULL
    RETURNING {ITEM_COLUMNS}"""

REPLACE_DATA = f"""
    UPDATE items SET data = %b::jsonb, version = version + 1, updated_at = now()
     WHERE id = %b
    RETURNING {ITEM_COLUMNS}"""

DELETE_ITEM = f"""
    UPDATE items SET data = NULL, version = version + 1, updated_at = now(), deleted_at = now()
     WHERE id = %b
    RETURNING {ITEM_COLUMNS}"""

# A live record cannot be here, since the key is locked and none was found. Should there be one
# all the same, the NULL fails the whole transaction.
_RECORD_AGAIN = f"""
    ON CONFLICT (bucket, caller, scope, key) DO UPDATE
       SET fingerprint = CASE WHEN {_EXPIRED} THEN excluded.fingerprint END,
           outcome = excluded.outcome, recorded_at = excluded.recorded_at,
           item_id = excluded.item_id, owner_id = excluded.owner_id, version = excluded.version,
           item_created_at = excluded.item_created_at, data_hash = excluded.data_hash,
           result = excluded.result, problem = excluded.problem"""

RECORD_PROBLEM = f"""
    INSERT INTO idempotency_keys AS known ({_RECORD}, problem)
    VALUES ({_RECORD_VALUES}, %b){_RECORD_AGAIN}"""


_OUTBOX = """
    outbox AS (
        INSERT INTO cache_outbox (item_id, version, epoch)
        SELECT id, version, %b::bigint FROM changed
        ON CONFLICT (item_id, version) DO UPDATE SET epoch = excluded.epoch)"""


def announced(change: str) -> str:
    """One of the three statements above, with its outbox row.

    Its parameters are followed by the epoch.
    """
    return f"WITH changed AS ({change}),{_OUTBOX} SELECT {ITEM_COLUMNS} FROM changed"


def recorded(change: str) -> str:
    """One of the three statements above, with its outbox row and the record of it.

    Its parameters are followed by the epoch and by the record's: bucket, caller, scope, key,
    fingerprint, outcome, caller again, whether the result is kept, and the records' life in
    seconds.
    """
    return f"""
    WITH changed AS ({change}),{_OUTBOX},
    kept AS (
        INSERT INTO idempotency_keys AS known ({_RECORD_OF_ITEM})
        SELECT {_RECORD_VALUES}, id, nullif(owner_id, %b::text), version, created_at,
               hashtextextended(data::text, 0), CASE WHEN %b::boolean THEN data END
          FROM changed{_RECORD_AGAIN})
    SELECT {ITEM_COLUMNS} FROM changed"""


# Replacements and deletions (without a payload) of rows that are locked, with their outbox rows
# and records. The conflict is certain; a join could be planned as one with all partitions.
CHANGE_ITEMS = f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::text[], %b::boolean[],
                             %b::integer[], %b::text[], %b::bytea[], %b::text[], %b::bytea[])
               AS r (id, payload, epoch, outcome, keeps_result,
                     bucket, caller, scope, key, fingerprint)),
    changed AS (
        INSERT INTO items ({ITEM_COLUMNS}, deleted_at)
        SELECT id, '', 1, now(), now(), nullif(payload, '')::jsonb,
               CASE WHEN payload = '' THEN now() END
          FROM asked
        ON CONFLICT (id) DO UPDATE
           SET data = excluded.data, version = items.version + 1, updated_at = now(),
               deleted_at = excluded.deleted_at
        RETURNING {ITEM_COLUMNS}),
    outbox AS (
        INSERT INTO cache_outbox (item_id, version, epoch)
        SELECT id, version, epoch FROM changed JOIN asked USING (id)
        ON CONFLICT (item_id, version) DO UPDATE SET epoch = excluded.epoch),
    kept AS (
        INSERT INTO idempotency_keys AS known ({_RECORD_OF_ITEM})
        SELECT bucket, caller, scope, key, fingerprint, outcome, now(), id,
               nullif(owner_id, caller), version, created_at,
               hashtextextended(data::text, 0), CASE WHEN keeps_result THEN data END
          FROM changed JOIN asked USING (id) WHERE key <> ''{_RECORD_AGAIN})
    SELECT {ITEM_COLUMNS} FROM changed"""


# Each takes its turn only while no other worker has it. SKIP LOCKED: whoever uses a row now
# neither waits for this nor makes it wait. The records' parameter is their life with an hour to
# spare. `= ANY (ARRAY[x])` is `= x` for indexes, and for no hash or merge join of whole tables.
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

READ_OUTBOX = "SELECT item_id, version, epoch FROM cache_outbox LIMIT %b"

EPOCHS = "SELECT bucket, cache_epoch(bucket) FROM owned_buckets"

CLEAR_OUTBOX = """
    DELETE FROM cache_outbox USING unnest(%b::uuid[], %b::bigint[]) AS told (item_id, version)
     WHERE cache_outbox.item_id = ANY (ARRAY[told.item_id])
       AND cache_outbox.version = ANY (ARRAY[told.version])"""

SHARD_MAP = "SELECT bucket, shard, epoch FROM shard_map ORDER BY bucket"

# Rows of a bulk import that may meet ids which are taken, numbered from 1 as they arrive.
MAKE_INCOMING = f"""
    CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS
    SELECT {ITEM_COLUMNS} FROM items WITH NO DATA;
    ALTER TABLE incoming ADD n bigint GENERATED ALWAYS AS IDENTITY"""

# Store those whose id is free (a tombstone counts as free, and its version goes on); name the rest.
MERGE_INCOMING = f"""
    WITH first AS (SELECT DISTINCT ON (id) * FROM incoming ORDER BY id, n),
    stored AS (
        INSERT INTO items ({ITEM_COLUMNS}) SELECT {ITEM_COLUMNS} FROM first
        ON CONFLICT (id) DO UPDATE
           SET owner_id = excluded.owner_id, data = excluded.data,
               version = greatest(items.version + 1, excluded.version),
               created_at = excluded.created_at, updated_at = excluded.updated_at,
               deleted_at = NULL
         WHERE items.data IS NULL
        RETURNING id, version, right(tableoid::regclass::text, 4)::integer AS bucket),
    outbox AS (
        INSERT INTO cache_outbox (item_id, version, epoch)
        SELECT id, version, cache_epoch(bucket) FROM stored
        ON CONFLICT DO NOTHING)
    SELECT n FROM incoming
     WHERE n NOT IN (SELECT n FROM first JOIN stored USING (id))
     ORDER BY n"""
