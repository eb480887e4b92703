"""Every SQL statement that runs per request. Parameters only; no text is ever spliced in."""

ITEM_COLUMNS = "id, owner_id, version, created_at, updated_at, data"

READ_ITEM = f"SELECT {ITEM_COLUMNS} FROM items WHERE id = %s"

LOCK_ITEM = f"SELECT {ITEM_COLUMNS} FROM items WHERE id = %s FOR UPDATE"

# A tombstone goes on counting its version, so that tags of the deleted item stay dead.
CREATE_ITEM = f"""
    INSERT INTO items (id, owner_id, data, version, created_at, updated_at)
    VALUES (%s, %s, %s::jsonb, 1, now(), now())
    ON CONFLICT (id) DO UPDATE
       SET owner_id = excluded.owner_id, data = excluded.data, version = items.version + 1,
           created_at = now(), updated_at = now(), deleted_at = NULL
     WHERE items.data IS NULL
    RETURNING {ITEM_COLUMNS}"""

REPLACE_DATA = f"""
    UPDATE items SET data = %s::jsonb, version = version + 1, updated_at = now()
     WHERE id = %s
    RETURNING {ITEM_COLUMNS}"""

DELETE_ITEM = f"""
    UPDATE items SET data = NULL, version = version + 1, updated_at = now(), deleted_at = now()
     WHERE id = %s
    RETURNING {ITEM_COLUMNS}"""

SHARD_MAP = "SELECT bucket, shard, epoch FROM shard_map ORDER BY bucket"

NODE_ROLE = "SELECT pg_is_in_recovery()"

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
        RETURNING id)
    SELECT n FROM incoming
     WHERE n NOT IN (SELECT n FROM first JOIN stored USING (id))
     ORDER BY n"""
