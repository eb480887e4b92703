"""Items read from PostgreSQL: the reads of one tick and shard in one statement.

``read_fresh`` asks the primary only where it is in its log, and reads from a replica that has
replayed as much: whatever was committed when the read was asked for is in the answer.
``read_any`` is content with a replica that is a little behind. ``read_primary`` needs no proof.

Where the primary does not answer, all three end at a replica without any proof (``proved`` is
False then), which cannot tell that something is not there: that is ShardUnavailable. Every read
has one deadline, and a node that fails or is slow is left alone for a while.
"""

import asyncio
import enum
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.numeric import Int4

from service import native
from service.flow.breaker import State, Status
from service.flow.tick_batch import TickBatch
from service.model.errors import DependencyError, Overloaded, ShardUnavailable
from service.model.item import Item
from service.settings import Database
from service.store import statements
from service.store.guards import Guard, Guards
from service.store.nodes import Connection, Row
from service.store.round_trip import round_trip
from service.store.shards import BucketMoved, Shard

# A primary is asked as patiently as its shard asks whether it lives: while it can be reached,
# nothing unproved may be answered in its place.
_PRIMARY_S = 2.0
_REPLICA_S = 0.5
# How long a replica may take to catch up before the primary is the quicker way.
_CATCH_UP_S = 0.002
_ASK_AGAIN_S = 0.0003
_IDS_MAX = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """What a database said of one id.

    ``item`` is None where there never was one, and may be a tombstone. ``map_epoch`` is the
    bucket's in the shard map, ``timeline`` the primary's (0 where it is not known). Only what
    is ``proved`` may enter a cache: it holds everything committed before it was asked for.
    """

    item: Item | None
    map_epoch: int
    timeline: int
    proved: bool

    @property
    def missing(self) -> bool:
        return self.item is None or self.item.deleted


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a primary's log was flushed up to when it was asked, by the loop's clock."""

    lsn: str
    timeline: int
    asked_at: float


class _Way(enum.Enum):
    FRESH = enum.auto()
    ANY = enum.auto()
    PRIMARY = enum.auto()


_Group = tuple[Shard, _Way]


class Reads:
    """One worker's reads. ``settings.reads_in_flight`` ids at most are under way at a node, and
    as many again wait for each shard; whoever comes then is told Overloaded at once.

    ``lag_s`` bounds how old ``read_any`` may be while the primary answers. ``on_breaker`` is told
    which node's breaker changed to which state.
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
        self._guards = Guards(self._limit, clock, on_breaker)
        self._positions: dict[Shard, _Position] = {}
        self._waiting: dict[Shard, int] = {}
        self._batches: TickBatch[_Group, bytes, Reading] = TickBatch(
            self._read,
            lambda _: 1,
            max_items=_IDS_MAX,
            max_bytes=_IDS_MAX,
            max_running=max(1, settings.pool_size // 2),
        )

    async def read_fresh(self, shard: Shard, item_id: bytes) -> Reading:
        """As of now or later, proved, while the primary answers; for readers with a permit.

        The primary is asked after this was called. Raises ShardUnavailable, DatabaseTimeout,
        Overloaded, and BucketMoved where the shard does not own the id's bucket (any more).
        """
        return await self._add(shard, _Way.FRESH, item_id)

    async def read_any(self, shard: Shard, item_id: bytes) -> Reading:
        """At most ``lag_s`` old while the primary answers; what is missing is the primary's word.

        Never proved unless the primary itself was asked. Raises as ``read_fresh`` does.
        """
        reading = await self._add(shard, _Way.ANY, item_id)
        return await self._add(shard, _Way.PRIMARY, item_id) if reading.missing else reading

    async def read_primary(self, shard: Shard, item_id: bytes) -> Reading:
        """From the primary itself, while it answers: for owners and for readers of a marker.

        Raises as ``read_fresh`` does.
        """
        return await self._add(shard, _Way.PRIMARY, item_id)

    def statuses(self) -> dict[str, Status]:
        """The breakers of all nodes that were asked so far, by name, for /readyz and metrics."""
        return self._guards.statuses()

    async def _add(self, shard: Shard, way: _Way, item_id: bytes) -> Reading:
        waiting = self._waiting.get(shard, 0)
        if waiting >= 2 * self._limit:
            raise Overloaded("Too many reads are waiting for the database.", retry_after_s=1)
        self._waiting[shard] = waiting + 1
        try:
            return await self._batches.add((shard, way), item_id)
        finally:
            self._waiting[shard] -= 1

    async def _read(self, group: _Group, ids: Sequence[bytes]) -> Sequence[Reading | Exception]:
        shard, way = group
        batch = _Batch(tuple(dict.fromkeys(ids)), self._buckets, self._clock() + self._timeout_s)
        try:
            if way is _Way.PRIMARY or not shard.replicas:
                found = await self._from_primary(shard, batch)
            else:
                found = await self._from_replica(shard, batch, way)
        except DependencyError:
            found = await self._unproved(shard, batch)
        return [found[item_id] for item_id in ids]

    async def _from_replica(self, shard: Shard, batch: "_Batch", way: _Way) -> "_Found":
        position = self._positions.get(shard)
        if way is _Way.FRESH or position is None or not self._recent(position):
            position = await self._ask_position(shard, batch)
        patience_s = _CATCH_UP_S if way is _Way.FRESH else 0.0
        for guard in self._guards.of_replicas(shard):
            try:
                found = await guard.attempt(
                    batch.size,
                    min(_REPLICA_S, batch.until - self._clock()),
                    lambda node=guard.node: _caught_up(node, batch, position, patience_s, way),
                )
            except (DependencyError, Overloaded):
                continue
            if found is not None:
                return found
            break
        return await self._from_primary(shard, batch)

    def _recent(self, position: _Position) -> bool:
        return self._clock() - position.asked_at < self._lag_s

    async def _ask_position(self, shard: Shard, batch: "_Batch") -> _Position:
        asked_at = self._clock()

        async def ask() -> _Position:
            async with shard.primary() as connection:
                [[row]] = await round_trip(connection, (statements.WAL_POSITION, ()))
            return _position(row, asked_at)

        position = await self._at_primary(shard, 1, batch, ask)
        self._positions[shard] = position
        return position
