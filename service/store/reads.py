"""Reads items from PostgreSQL: the reads of one tick and shard in one statement.

``read_fresh`` queries the primary only for its WAL position, and reads from a replica that has
replayed up to it, so that the result has everything committed before the call. ``read_any`` accepts
a replica that is a little behind. ``read_primary`` needs no proof.

If the primary does not answer, all three read from a replica without proof (``proved`` is False
then); as such a replica cannot prove that an item is absent, a missing item is ShardUnavailable.
Every read has one deadline, and a node that fails or is slow is avoided for a while.
"""

import asyncio
import enum
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.numeric import Int4

from service import native
from service.flow.breaker import State, Status
from service.flow.tick_batch import TickBatch
from service.model.errors import DatabaseTimeout, DependencyError, Overloaded
from service.model.item import Item
from service.observe.metrics import BATCH_SIZE
from service.settings import Database
from service.store import statements
from service.store.connection import Row
from service.store.node_bulkheads import NodeBulkheads
from service.store.nodes import Node
from service.store.round_trip import Step, round_trip
from service.store.shards import BucketMoved, Shard

# As long as the shard's own role query, because nothing unproved may be returned while the primary
# can be reached.
PRIMARY_S = 2.0
REPLICA_S = 0.5
# How long to wait for a replica to catch up before the primary is faster.
CATCH_UP_S = 0.002
ASK_AGAIN_S = 0.0003
_IDS_MAX = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """A database's result for one id.

    ``item`` is None if there never was one, and may be a tombstone. ``map_epoch`` is the bucket's
    in the shard map, ``timeline`` the primary's (0 if unproved). Only a ``proved`` reading may be
    cached: it has everything committed before the read. ``source`` is replica or primary.
    """

    item: Item | None
    map_epoch: int
    timeline: int
    proved: bool
    source: str = ""

    @property
    def missing(self) -> bool:
        """Whether there is no living item with the id."""
        return self.item is None or self.item.deleted


_Found = dict[bytes, Reading | Exception]


class _Way(enum.Enum):
    FRESH = enum.auto()
    ANY = enum.auto()
    PRIMARY = enum.auto()


@dataclass(frozen=True, slots=True)
class _Position:
    """A lower bound of the primary's flushed WAL position at ``asked_at`` of our clock."""

    lsn: str
    timeline: int
    asked_at: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """Distinct ids to read together before ``until`` of our clock."""

    ids: list[bytes]
    read: Step
    until: float

    def found(self, rows: Sequence[Row], timeline: int, *, proved: bool, source: str) -> _Found:
        """The reading of each id; no row, or one without an epoch, means not owned here."""
        moved = BucketMoved("The item's bucket is on another shard.")
        found: _Found = dict.fromkeys(self.ids, moved)
        for item_id, *columns, epoch in rows:
            if epoch is None:
                continue
            key = item_id.bytes
            item = None if columns[0] is None else Item(key, *columns)
            found[key] = Reading(item, epoch, timeline, proved, source)
        return found


class Reads:
    """One worker's reads. At most ``settings.reads_in_flight`` ids are being read at a node, and
    twice as many at a shard, waiting ones included; further ones get Overloaded.

    ``lag_s`` bounds how old ``read_any`` may be while the primary answers. ``on_breaker`` gets a
    node's name and its breaker's new state. ``bulkheads`` are shared with other readers.
    """

    def __init__(
        self,
        settings: Database,
        *,
        lag_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        on_breaker: Callable[[str, State], None] = lambda _name, _state: None,
    ) -> None:
        self._buckets = settings.buckets
        self._timeout_s = settings.timeout_s
        self._limit = settings.reads_in_flight
        self._lag_s = lag_s
        self._clock = clock
        self.bulkheads = NodeBulkheads(self._limit, clock, on_breaker)
        self.from_replica = self.from_primary = 0  # ids read, for metrics
        self._positions: dict[Shard, _Position] = {}
        self._under_way: dict[Shard, int] = {}
        self._batches: TickBatch[tuple[Shard, _Way], bytes, Reading] = TickBatch(
            self._read,
            lambda _: 1,
            max_items=min(_IDS_MAX, self._limit),
            max_bytes=_IDS_MAX,
            max_running=max(1, settings.pool_size // 2),
            sizes=BATCH_SIZE.of("read"),
        )

    async def read_fresh(self, shard: Shard, item_id: bytes) -> Reading:
        """A proved reading while the primary answers; for readers with a fill lease.

        The primary is queried after the call. Raises ShardUnavailable, DatabaseTimeout, Overloaded,
        and BucketMoved if the shard does not own the id's bucket (any more).
        """
        return await self._add(shard, _Way.FRESH, item_id)

    async def read_any(self, shard: Shard, item_id: bytes) -> Reading:
        """At most ``lag_s`` old while the primary answers; only the primary reports a missing item.

        Proved only if the primary itself was read. Raises as ``read_fresh`` does.
        """
        reading = await self._add(shard, _Way.ANY, item_id)
        if reading.missing and not reading.proved:
            return await self._add(shard, _Way.PRIMARY, item_id)
        return reading

    async def read_primary(self, shard: Shard, item_id: bytes) -> Reading:
        """From the primary while it answers; for owners and after an invalidation.

        Raises as ``read_fresh`` does, and DatabaseTimeout, without trying a replica, while the
        primary answers its role query, because the caller needs the primary's state.
        """
        return await self._add(shard, _Way.PRIMARY, item_id)

    def statuses(self) -> dict[str, Status]:
        """The breakers of all nodes used so far, by name, for /readyz and metrics."""
        return self.bulkheads.statuses()

    async def _add(self, shard: Shard, way: _Way, item_id: bytes) -> Reading:
        under_way = self._under_way.get(shard, 0)
        if under_way >= 2 * self._limit:
            raise Overloaded("Too many reads are waiting for the database.", retry_after_s=1)
        self._under_way[shard] = under_way + 1
        try:
            return await self._batches.add((shard, way), item_id)
        finally:
            self._under_way[shard] -= 1

    async def _read(
        self, group: tuple[Shard, _Way], ids: Sequence[bytes]
    ) -> Sequence[Reading | Exception]:
        shard, way = group
        distinct = list(dict.fromkeys(ids))
        step = _read_step(distinct, self._buckets)
        batch = _Batch(distinct, step, self._clock() + self._timeout_s)
        try:
            found = None
            if way is not _Way.PRIMARY and shard.replicas:
                found = await self._from_replicas(shard, batch, way)
            if found is None:
                found = await self._from_primary(shard, batch)
        except DependencyError as error:
            slow = isinstance(error, DatabaseTimeout) and shard.primary_known
            if way is _Way.PRIMARY and slow:
                raise
            found = await self._unproved(shard, batch, error)
        return [found[item_id] for item_id in ids]

    async def _from_replicas(self, shard: Shard, batch: _Batch, way: _Way) -> _Found | None:
        """None if no replica could answer. Raises the errors of a primary without a position."""
        fresh = way is _Way.FRESH
        position = self._positions.get(shard)
        if fresh or position is None or self._clock() - position.asked_at >= self._lag_s:
            position = await self._ask_position(shard, batch)
        until = self._clock() + CATCH_UP_S if fresh else 0.0
        for node, bulkhead in self.bulkheads.of_replicas(shard):
            work = self._caught_up(node, batch, position, until)
            try:
                rows = await bulkhead.attempt(len(batch.ids), self._left(batch, REPLICA_S), work)
            except (DependencyError, Overloaded):
                continue
            if rows is None:
                return None
            self.from_replica += len(batch.ids)
            return batch.found(rows, position.timeline, proved=fresh, source="replica")
        return None

    def _caught_up(
        self, node: Node, batch: _Batch, position: _Position, until: float
    ) -> Callable[[], Coroutine[Any, Any, list[Row] | None]]:
        proof = (statements.HAS_REPLAYED, (position.lsn, Int4(position.timeline)))

        async def read() -> list[Row] | None:
            async with node.connection(reading=True) as connection:
                while True:
                    [[(caught_up,)], rows] = await round_trip(connection, proof, batch.read)
                    if caught_up:
                        return rows
                    if self._clock() >= until:
                        return None
                    await asyncio.sleep(ASK_AGAIN_S)

        return read

    async def _ask_position(self, shard: Shard, batch: _Batch) -> _Position:
        asked_at = self._clock()
        [[(lsn, timeline)]] = await self._at_primary(shard, batch, 0)
        position = _Position(lsn, int(timeline, 16), asked_at)
        self._positions[shard] = position
        return position

    async def _from_primary(self, shard: Shard, batch: _Batch) -> _Found:
        [[(_, timeline)], rows] = await self._at_primary(shard, batch, len(batch.ids), batch.read)
        self.from_primary += len(batch.ids)
        return batch.found(rows, int(timeline, 16), proved=True, source="primary")

    async def _at_primary(
        self, shard: Shard, batch: _Batch, ids: int, *steps: Step
    ) -> list[list[Row]]:
        return await self.bulkheads.query_primary(
            shard, ids, lambda: self._left(batch, PRIMARY_S), *steps
        )

    async def _unproved(self, shard: Shard, batch: _Batch, error: DependencyError) -> _Found:
        """A replica's reading while the primary is away. Raises ``error`` if none answers."""
        for node, bulkhead in self.bulkheads.of_replicas(shard):
            try:
                rows = await bulkhead.attempt(
                    len(batch.ids),
                    self._left(batch, REPLICA_S),
                    _rows_of(node, batch),
                    at_last=True,
                )
            except DependencyError:
                continue
            self.from_replica += len(batch.ids)
            found = batch.found(rows, timeline=0, proved=False, source="replica")
            return {
                i: error if isinstance(r, Reading) and r.missing else r for i, r in found.items()
            }
        raise error

    def _left(self, batch: _Batch, at_most_s: float) -> float:
        return min(at_most_s, batch.until - self._clock())


def _read_step(ids: list[bytes], buckets: int) -> Step:
    numbers = [Int4(native.bucket_of(item_id, buckets)) for item_id in ids]
    uuids = [UUID(bytes=item_id) for item_id in ids]
    if len(ids) == 1:
        return statements.READ_OWNED, (uuids[0], uuids[0], numbers[0])
    return statements.READ_MANY_OWNED, (uuids, numbers)


def _rows_of(node: Node, batch: _Batch) -> Callable[[], Coroutine[Any, Any, list[Row]]]:
    async def read() -> list[Row]:
        async with node.connection(reading=True) as connection:
            [rows] = await round_trip(connection, batch.read)
            return rows

    return read
