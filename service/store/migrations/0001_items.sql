-- Items, hash-partitioned by id into buckets. A shard attaches only the partitions it owns
-- (store/migrate.py), so a bucket can move between shards as one table.
CREATE TABLE items (
    id uuid PRIMARY KEY,
    owner_id text NOT NULL,
    data jsonb,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    -- A tombstone is a row without data; it remembers the version for 30 days.
    CHECK ((data IS NULL) = (deleted_at IS NOT NULL))
) PARTITION BY HASH (id);

-- Which shard this database is, so that reordered settings are noticed before any harm.
CREATE TABLE cluster (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shard integer NOT NULL,
    buckets integer NOT NULL CHECK (buckets >= 1)
);

-- Every shard holds the whole map, so that any reachable one can tell it at start.
CREATE TABLE shard_map (
    bucket integer PRIMARY KEY,
    shard integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 1
);

-- What this shard may answer for: a bucket that moved away leaves this table with its rows.
CREATE TABLE owned_buckets (
    bucket integer PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 1
);
