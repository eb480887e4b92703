"""Chooses the node for a shard's part of a list: a replica that is proved to be current.

A list has all changes that were acknowledged before its request, whichever worker made them. So the
primary is queried for its WAL position, and the least loaded replica that has replayed up to it is
read; without one the primary itself. Only while the primary cannot be reached is a replica read
without that proof.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg.types.numeric import Int4

from service.flow.bulkhead import Bulkhead
from service.model.errors import DatabaseTimeout, DependencyError, Overloaded, ShardUnavailable
from service.observe.metrics import STATEMENT_SECONDS
from service.observe.tracing import Work
from service.store import statements
from service.store.connection import Connection, Row
from service.store.node_bulkheads import NodeBulkhead, NodeBulkheads
from service.store.nodes import Node
from service.store.reads import ASK_AGAIN_S, CATCH_UP_S, PRIMARY_S, REPLICA_S
from service.store.round_trip import Step, round_trip
from service.store.shards import Shard


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL for every shard, and its placeholders' values.

    ``prepare`` False: do not prepare it, because with conditions the best plan depends on the
    values.
    """

    text: bytes
    values: dict[str, Any]
    prepare: bool | None


# Waiting lists per connection that lists may use.
_WAITING_A_CONNECTION = 20


class ListReads:
    """One worker's reads of lists. ``bulkheads`` are shared with its other reads.

    Lists use at most ``connections`` per node, because a list may take seconds, and reads by id and
    writes need the same pool.
    """

    def __init__(
        self,
        bulkheads: NodeBulkheads,
        connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bulkheads = bulkheads
        self._concurrency = Bulkhead("lists", connections, connections * _WAITING_A_CONNECTION)
        self._clock = clock

    async def rows(self, shard: Shard, statement: Statement, seconds: float) -> list[Row]:
        """The statement's rows. ``seconds`` bounds the choice of a node; the server ends the
        statement at its own timeout.


        Raises ShardUnavailable, DatabaseTimeout, Overloaded.
        """
        until = self._clock() + seconds
        rows = None
        try:
            if shard.replicas:
                proof = await self._proof(shard, until)
                rows = await self._from_replicas(shard, statement, until, proof)
            if rows is None:
                rows = await self._from_primary(shard, statement, until)
        except ShardUnavailable as error:
            rows = None if error.run_again else await self._unproved(shard, statement, until)
            if rows is None:
                raise
        return rows

    async def _proof(self, shard: Shard, until: float) -> Step:
        """The query whether a replica has replayed everything that the primary has committed."""
        try:
            [[(lsn, timeline)]] = await self._bulkheads.query_primary(
                shard, 0, lambda: self._left(until, PRIMARY_S)
            )
        except DatabaseTimeout:
            hangs = "The shard's primary does not answer."
            raise ShardUnavailable(hangs, retry_after_s=1) from None
        return statements.HAS_REPLAYED, (lsn, Int4(int(timeline, 16)))

    async def _from_primary(self, shard: Shard, statement: Statement, until: float) -> list[Row]:
        """The rows; a lost connection is retried once, because the server may have returned."""
        try:
            return await self._at_primary(shard, statement, until)
        except ShardUnavailable as error:
            if not error.run_again or self._clock() >= until:
                raise
        return await self._at_primary(shard, statement, until)

    async def _at_primary(self, shard: Shard, statement: Statement, until: float) -> list[Row]:
        # Keyed by the shard, because another node may be the primary at the next list.
        async with (
            self._concurrency.entered(shard.number, max(0.0, until - self._clock())),
            shard.primary(reading=True) as connection,
        ):
            return await _rows(connection, statement)

    async def _from_replicas(
        self, shard: Shard, statement: Statement, until: float, proof: Step, last: bool = False
    ) -> list[Row] | None:
        """The rows; None if no replica can be read. Raises DatabaseTimeout if a statement times
        out.

        ``last``: there is no other node to try.
        """
        for node, bulkhead in self._bulkheads.of_replicas(shard):
            # A short statement first, because the list itself may take long even on a healthy node.
            if not await self._is_fit(node, bulkhead, proof, until, last):
                continue
            try:
                with bulkhead.counted(1):
                    async with (
                        self._concurrency.entered(node, max(0.0, until - self._clock())),
                        node.connection(reading=True) as connection,
                    ):
                        # Checked again, because the node may have restarted meanwhile from an older
                        # state.
                        [[(fit,)]] = await round_trip(connection, proof)
                        if fit:
                            return await _rows(connection, statement)
            except (ShardUnavailable, Overloaded):
                # The connection was lost, or the statement cancelled by a recovery conflict.
                continue
        return None

    async def _unproved(self, shard: Shard, statement: Statement, until: float) -> list[Row] | None:
        """The rows of a replica while the primary cannot be reached."""
        return await self._from_replicas(shard, statement, until, _NO_PROOF, last=True)

    async def _is_fit(
        self, node: Node, bulkhead: NodeBulkhead, proof: Step, until: float, last: bool
    ) -> bool:
        """Whether the replica answers and has caught up, or does so within moments."""
        probe = partial(self._caught_up, node, proof)
        try:
            return await bulkhead.attempt(1, self._left(until, REPLICA_S), probe, at_last=last)
        except (DependencyError, Overloaded):
            return False

    async def _caught_up(self, node: Node, proof: Step) -> bool:
        until = self._clock() + CATCH_UP_S
        async with node.connection(reading=True) as connection:
            while True:
                [[(fit,)]] = await round_trip(connection, proof)
                if fit or self._clock() >= until:
                    return bool(fit)
                await asyncio.sleep(ASK_AGAIN_S)

    def _left(self, until: float, at_most_s: float) -> float:
        return min(at_most_s, until - self._clock())


_NO_PROOF: Step = ("SELECT true", ())


async def _rows(connection: Connection, statement: Statement) -> list[Row]:
    began = time.perf_counter()
    try:
        with Work("postgresql", {"db.operation.name": "list", "hotshelf.shard": connection.shard}):
            cursor = await connection.execute(
                statement.text, statement.values, prepare=statement.prepare
            )
            return await cursor.fetchall()
    finally:
        spread = STATEMENT_SECONDS.of(connection.shard, "list")
        spread.observe(time.perf_counter() - began)
