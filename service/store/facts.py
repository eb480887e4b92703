"""State of the databases (roles, lag, outboxes), queried by one worker per host for metrics.

Nothing is decided by these values. A node that does not answer delays no other one.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from service.flow.deadline import within
from service.model.errors import HotshelfError
from service.store.nodes import Node
from service.store.shards import Shard

_ASK_EVERY_S = 2.0
_QUERY_TIMEOUT_S = 1.0

_NODE = """
    SELECT pg_is_in_recovery(),
           (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                 ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::bigint,
           CASE WHEN pg_is_in_recovery()
                 AND pg_last_wal_replay_lsn() IS DISTINCT FROM pg_last_wal_receive_lsn()
                THEN extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8
                ELSE 0 END,
           CASE WHEN NOT pg_is_in_recovery()
                THEN ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::integer
                ELSE (SELECT timeline_id FROM pg_control_checkpoint()) END"""
# Rows have no creation time, so the oldest ones are tracked by id and version.
_OUTBOX = """
    SELECT (SELECT count(*) FROM (SELECT FROM cache_outbox LIMIT 100000) AS waiting),
           ARRAY(SELECT item_id || '/' || version FROM cache_outbox
                  ORDER BY item_id, version LIMIT 1000)"""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """``role`` is primary, replica or unknown; ``lag_bytes`` None if unknown."""

    name: str
    role: str
    timeline: int = 0
    lag_bytes: int | None = None
    lag_s: float | None = None


@dataclass(frozen=True, slots=True)
class OutboxFacts:
    """The number of waiting rows, and how long the oldest of them has been observed."""

    rows: int
    oldest_s: float


class Facts:
    """Queries every ``_ASK_EVERY_S`` once started; belongs to the event loop."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._nodes: dict[str, NodeFacts] = {}
        self._outboxes: dict[int, OutboxFacts] = {}
        self._seen: dict[int, dict[str, float]] = {}
        self._asking: asyncio.Task[None] | None = None

    @property
    def nodes(self) -> Sequence[NodeFacts]:
        """By name; empty in a worker that does not query."""
        return [self._nodes[name] for name in sorted(self._nodes)]

    @property
    def outboxes(self) -> dict[int, OutboxFacts]:
        """By the numbers of the shards that answered."""
        return self._outboxes

    def start(self) -> None:
        self._asking = asyncio.create_task(self._ask_again())

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _ask_again(self) -> None:
        while True:
            await asyncio.gather(*map(self._query, self._shards))
            await asyncio.sleep(_ASK_EVERY_S)

    async def _query(self, shard: Shard) -> None:
        rows = await asyncio.gather(*map(_row, shard.nodes))
        flushed = max((row[1] for row in rows if row is not None and not row[0]), default=None)
        for node, row in zip(shard.nodes, rows, strict=True):
            self._nodes[node.name] = _facts(node.name, row, flushed)
        try:
            self._outboxes[shard.number] = await within(_QUERY_TIMEOUT_S, self._outbox(shard))
        except (HotshelfError, psycopg.Error, TimeoutError):
            self._outboxes.pop(shard.number, None)

    async def _outbox(self, shard: Shard) -> OutboxFacts:
        async with shard.primary() as connection:
            row = await (await connection.execute(_OUTBOX)).fetchone()
        assert row is not None
        now, before = time.monotonic(), self._seen.get(shard.number, {})
        seen = self._seen[shard.number] = {name: before.get(name, now) for name in row[1]}
        return OutboxFacts(row[0], now - min(seen.values(), default=now))


async def _row(node: Node) -> tuple[bool, int, float, int] | None:
    """None for a node that cannot be queried now."""

    async def query() -> tuple[bool, int, float, int] | None:
        async with node.connection() as connection:
            row = await (await connection.execute(_NODE)).fetchone()
            return None if row is None else (row[0], row[1] or 0, row[2] or 0.0, row[3] or 0)

    try:
        return await within(_QUERY_TIMEOUT_S, query())
    except (HotshelfError, psycopg.Error, TimeoutError):
        return None


def _facts(name: str, row: tuple[bool, int, float, int] | None, flushed: int | None) -> NodeFacts:
    if row is None:
        return NodeFacts(name, "unknown")
    in_recovery, position, lag_s, timeline = row
    if not in_recovery:
        return NodeFacts(name, "primary", timeline)
    lag = None if flushed is None else max(0, flushed - position)
    return NodeFacts(name, "replica", timeline, lag, lag_s if lag else 0.0)
