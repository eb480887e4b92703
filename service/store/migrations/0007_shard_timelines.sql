-- The highest timeline that any worker has seen of each shard's primary. Every shard has the rows
-- of all of them, so that a former primary is known for one while its successor is away.
CREATE TABLE shard_timelines (
    shard integer PRIMARY KEY,
    timeline bigint NOT NULL
);
