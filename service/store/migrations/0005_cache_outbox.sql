-- Changes whose invalidation Redis may not have yet. A row is committed with its change and deleted
-- once the invalidation is in Redis; rows of a writer that died are relayed by any worker.
CREATE TABLE cache_outbox (
    item_id uuid NOT NULL,
    version bigint NOT NULL,
    -- See cache_epoch; the change's own, since versions are only counted on within one epoch.
    epoch bigint NOT NULL,
    PRIMARY KEY (item_id, version)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- One number that grows when a bucket moves or is restored (its epoch in the map) and when a
-- primary is promoted (its timeline): service/cache/layout.py, epoch_of.
CREATE FUNCTION cache_epoch(of_bucket integer) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT epoch << 16
           | ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
      FROM owned_buckets WHERE bucket = of_bucket
$$;
