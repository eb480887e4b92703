"""Which of several nodes that take writes is a shard's primary: the one on the highest timeline.

A promotion begins a new timeline, so a former primary that comes back is below its successor. A
shard's highest timeline is remembered here, in memory that outlives this worker, and in the
databases of all shards; a node below it is never written to, even where it alone is reachable.
"""

from collections.abc import Mapping
from typing import NamedTuple


class NodeState(NamedTuple):
    """What a node says of itself. ``timeline`` is 0 where a replica receives nothing.

    ``remembered`` are the timelines that its database remembers, by shard.
    """

    takes_writes: bool
    timeline: int
    fsync: bool
    remembered: Mapping[int, int]


# Whether it takes writes as libpq asks it (target_session_attrs=read-write): a server may be up
# and refuse them. The timeline of a replica is the one that it receives.
NODE_STATE = """
    SELECT NOT current_setting('transaction_read_only')::boolean,
           CASE WHEN pg_is_in_recovery()
                THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), 0)
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
           END,
           current_setting('fsync')::boolean"""
REMEMBERED = "SELECT shard, timeline FROM shard_timelines"
# By itself: what it says is true whether or not a standby has it, and nothing waits for one.
REMEMBER_LOCALLY = "SET LOCAL synchronous_commit = local"
REMEMBER = """
    INSERT INTO shard_timelines AS known (shard, timeline)
    SELECT * FROM unnest(%s::integer[], %s::bigint[])
    ON CONFLICT (shard) DO UPDATE SET timeline = excluded.timeline
     WHERE known.timeline < excluded.timeline"""


class Timelines:
    """The highest timeline seen of each shard; 0 where none was. ``kept`` outlives the worker."""

    def __init__(self, shards: int, kept: "memoryview[int] | None" = None) -> None:
        self._highest: list[int] | memoryview[int] = [0] * shards if kept is None else kept
        self._shards = shards

    def of(self, shard: int) -> int:
        return self._highest[shard]

    def learn(self, seen: Mapping[int, int]) -> bool:
        """Whether one of them is higher than all that was seen of that shard before."""
        higher = {
            shard: timeline
            for shard, timeline in seen.items()
            if 0 <= shard < self._shards and timeline > self._highest[shard]
        }
        for shard, timeline in higher.items():
            self._highest[shard] = timeline
        return bool(higher)

    def unknown_to(self, state: NodeState) -> dict[int, int]:
        """What the node's database does not remember yet."""
        return {
            shard: self._highest[shard]
            for shard in range(self._shards)
            if self._highest[shard] > state.remembered.get(shard, 0)
        }
