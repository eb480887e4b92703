"""Of several nodes that take writes, the one on the highest timeline is the shard's primary.

A promotion begins a new timeline, so a former primary that returns is below its successor. A
shard's highest timeline is stored in memory that outlives this worker and in the databases of all
shards; a node below it is never written to, even if it is the only reachable one.
"""

from collections.abc import Mapping
from typing import NamedTuple


class NodeState(NamedTuple):
    """A node's state. ``timeline`` is 0 for a replica that receives nothing.

    ``remembered`` are the timelines stored in its database, by shard.
    """

    takes_writes: bool
    timeline: int
    fsync: bool
    remembered: Mapping[int, int]


# Whether it takes writes, by libpq's own query for target_session_attrs=read-write, because a
# server may be up and refuse them. The timeline of a replica is the one that it receives.
NODE_STATE = """
    SELECT NOT current_setting('transaction_read_only')::boolean,
           CASE WHEN pg_is_in_recovery()
                THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), 0)
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
           END,
           current_setting('fsync')::boolean"""
REMEMBERED = "SELECT shard, timeline FROM shard_timelines"
# Without waiting for a standby, because the fact is true whether or not a standby has it.
REMEMBER_LOCALLY = "SET LOCAL synchronous_commit = local"
REMEMBER = """
    INSERT INTO shard_timelines AS known (shard, timeline)
    SELECT * FROM unnest(%s::integer[], %s::bigint[])
    ON CONFLICT (shard) DO UPDATE SET timeline = excluded.timeline
     WHERE known.timeline < excluded.timeline"""


class Timelines:
    """The highest timeline seen of each shard; 0 if unknown. ``kept`` outlives the worker."""

    def __init__(self, shards: int, kept: "memoryview[int] | None" = None) -> None:
        self._highest: list[int] | memoryview[int] = [0] * shards if kept is None else kept
        self._shards = shards

    def of(self, shard: int) -> int:
        return self._highest[shard]

    def learn(self, seen: Mapping[int, int]) -> bool:
        """Record timelines; returns whether one is higher than all seen of its shard before."""
        higher = {
            shard: timeline
            for shard, timeline in seen.items()
            if 0 <= shard < self._shards and timeline > self._highest[shard]
        }
        for shard, timeline in higher.items():
            self._highest[shard] = timeline
        return bool(higher)

    def unknown_to(self, state: NodeState) -> dict[int, int]:
        """The timelines that the node's database does not have yet."""
        return {
            shard: self._highest[shard]
            for shard in range(self._shards)
            if self._highest[shard] > state.remembered.get(shard, 0)
        }
