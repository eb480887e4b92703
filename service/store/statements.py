"""SQL for reads by id, replicas' progress and the shard map.

The SQL of writes is in ``write/statements.py``; lists, expiry, the outbox and bulk copies have
theirs in their own modules. No text of a request is ever inserted: values are parameters, ``%b``
because they are sent in binary format. The comment above a statement lists its parameters in order.
"""

# id, id, bucket. One row if the bucket is owned here, with nulls if there is no item. One snapshot
# has to decide both, because a bucket that has moved away has no items either.
READ_OWNED = """
    SELECT %b::uuid, owner_id, version, created_at, updated_at, data, collection,
           owned_buckets.epoch
      FROM owned_buckets LEFT JOIN items ON items.id = %b
     WHERE bucket = %b"""

# ids, their buckets. A row for every id whose bucket is owned here. OFFSET 0 makes each look-up a
# separate one in one partition, because otherwise the planner joins whole tables while they are
# small or not analyzed; `= ANY` would search all partitions.
READ_MANY_OWNED = """
    SELECT asked.id, owner_id, version, created_at, updated_at, data, collection,
           owned_buckets.epoch
      FROM unnest(%b::uuid[], %b::integer[]) AS asked (id, bucket)
      LEFT JOIN owned_buckets USING (bucket)
      LEFT JOIN LATERAL (
        SELECT owner_id, version, created_at, updated_at, data, collection FROM items
         WHERE items.id = asked.id OFFSET 0) AS found ON true"""

# The primary's flushed WAL position, below which everything acknowledged so far lies, and its
# timeline.
WAL_POSITION = """
    SELECT pg_current_wal_flush_lsn(), left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"""

# That position and timeline. Whether this replica has replayed up to it: it has to receive the
# primary's timeline, because on another one the same position means other changes. Null if it
# receives nothing, and for a database user without pg_read_all_stats.
HAS_REPLAYED = """
    SELECT pg_last_wal_replay_lsn() >= %b::pg_lsn
       AND (SELECT received_tli FROM pg_stat_wal_receiver) = %b::integer"""

SHARD_MAP = "SELECT bucket, shard, epoch FROM shard_map ORDER BY bucket"
