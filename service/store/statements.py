"""SQL of reads by id, of replicas' progress and of the shard map.

Writes have theirs in ``write/statements.py``; lists, expiry, the outbox and bulk copies each in
their own module. No text of a request is ever spliced in: values travel as parameters, marked
``%b`` because they are sent in binary form. What each stands for is listed in the order in which
they occur.
"""

# id, id, bucket. One row if the bucket is owned here, with nulls where there is no such item: the
# same snapshot has to tell both, because a bucket that has moved away also gives no item.
READ_OWNED = """
    SELECT %b::uuid, owner_id, version, created_at, updated_at, data, collection,
           owned_buckets.epoch
      FROM owned_buckets LEFT JOIN items ON items.id = %b
     WHERE bucket = %b"""

# ids, their buckets. A row for every id whose bucket is owned here. OFFSET 0 makes each look-up one
# of its own in one partition, because the planner otherwise joins whole tables while they are
# small or not analyzed; `= ANY` would ask all partitions.
READ_MANY_OWNED = """
    SELECT asked.id, owner_id, version, created_at, updated_at, data, collection,
           owned_buckets.epoch
      FROM unnest(%b::uuid[], %b::integer[]) AS asked (id, bucket)
      LEFT JOIN owned_buckets USING (bucket)
      LEFT JOIN LATERAL (
        SELECT owner_id, version, created_at, updated_at, data, collection FROM items
         WHERE items.id = asked.id OFFSET 0) AS found ON true"""

# Where the primary's log is flushed to, and its timeline: everything acknowledged so far lies below
# that position.
WAL_POSITION = """
    SELECT pg_current_wal_flush_lsn(), left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"""

# That position, that timeline. Whether this replica has replayed as much of the same history:
# it has to receive the primary's timeline, because on another one the same position means other
# changes. Null where it receives nothing, and for a database user without pg_read_all_stats.
HAS_REPLAYED = """
    SELECT pg_last_wal_replay_lsn() >= %b::pg_lsn
       AND (SELECT received_tli FROM pg_stat_wal_receiver) = %b::integer"""

SHARD_MAP = "SELECT bucket, shard, epoch FROM shard_map ORDER BY bucket"
