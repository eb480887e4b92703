"""Where a shard's share of a list is read: on a replica wherever one is known to be current.

A list is for everybody as it is for the owner of its items: what was acknowledged before it was
asked for is in it, whichever worker wrote that. So the primary is asked where it is in its log,
and the least loaded replica that has replayed as much answers; the primary where there is none.
Only where the primary cannot be reached a replica answers without proof.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg.types.numeric import Int4

from service.model.errors import DatabaseTimeout, DependencyError, Overloaded, ShardUnavailable
from service.observe.metrics import STATEMENT_SECONDS
from service.observe.tracing import Work
from service.store import statements
from service.store.guards import Guard, Guards
from service.store.nodes import Connection, Node, Row
from service.store.reads import ASK_AGAIN_S, CATCH_UP_S, PRIMARY_S, REPLICA_S
from service.store.round_trip import Step, round_trip
from service.store.shards import Shard


@dataclass(frozen=True, slots=True)
class Question:
    """A statement that every shard is asked, its placeholders' values, and whether its plan is
    worth keeping: with conditions the best one depends on the values.
    """

    statement: bytes
    values: dict[str, Any]
    prepare: bool | None


class ListReads:
    """One worker's reads of lists. ``guards`` are those of its other reads of the same nodes."""

    def __init__(self, guards: Guards, clock: Callable[[], float] = time.monotonic) -> None:
        self._guards = guards
        self._clock = clock

    async def answer(self, shard: Shard, question: Question, seconds: float) -> list[Row]:
        """The rows. Whom to ask is found out in ``seconds``; the statement has its own timeout.

        Raises ShardUnavailable, DatabaseTimeout, Overloaded.
        """
        until = self._clock() + seconds
        rows = None
        try:
            if shard.replicas:
                proof = await self._proof(shard, until)
                rows = await self._from_replicas(shard, question, until, proof)
            if rows is None:
                async with shard.primary() as connection:
                    return await _rows(connection, question)
        except ShardUnavailable as error:
            rows = None if error.run_again else await self._unproved(shard, question, until)
            if rows is None:
                raise
        return rows

    async def _proof(self, shard: Shard, until: float) -> Step:
        """What a replica is asked that is to answer for all that the primary has committed."""
        try:
            [[(lsn, timeline)]] = await self._guards.ask_primary(
                shard, 0, lambda: self._left(until, PRIMARY_S)
            )
        except DatabaseTimeout:
            hangs = "The shard's primary does not answer."
            raise ShardUnavailable(hangs, retry_after_s=1) from None
        return statements.HAS_REPLAYED, (lsn, Int4(int(timeline, 16)))

    async def _from_replicas(
        self, shard: Shard, question: Question, until: float, proof: Step, last: bool = False
    ) -> list[Row] | None:
        """None where no replica can answer; DatabaseTimeout where the question is too hard.

        ``last``: there is nobody else to ask.
        """
        for node, guard in self._guards.of_replicas(shard):
            # A node that hangs is found out by this, since the question itself may take long.
            if not await self._is_fit(node, guard, proof, until, last):
                continue
            try:
                with guard.counted(1):
                    async with node.connection() as connection:
                        # Once more: a node that started again meanwhile may be behind where it was.
                        [[(fit,)]] = await round_trip(connection, proof)
                        if fit:
                            return await _rows(connection, question)
            except (ShardUnavailable, Overloaded):
                # Lost, or cancelled because replay had to go on.
                continue
        return None

    async def _unproved(self, shard: Shard, question: Question, until: float) -> list[Row] | None:
        """What a replica says while the primary is away."""
        return await self._from_replicas(shard, question, until, _NO_PROOF, last=True)

    async def _is_fit(
        self, node: Node, guard: Guard, proof: Step, until: float, last: bool
    ) -> bool:
        """Whether the replica answers and has caught up, or does so in a moment."""
        probe = partial(self._caught_up, node, proof)
        try:
            return await guard.attempt(1, self._left(until, REPLICA_S), probe, at_last=last)
        except (DependencyError, Overloaded):
            return False

    async def _caught_up(self, node: Node, proof: Step) -> bool:
        until = self._clock() + CATCH_UP_S
        async with node.connection() as connection:
            while True:
                [[(fit,)]] = await round_trip(connection, proof)
                if fit or self._clock() >= until:
                    return bool(fit)
                await asyncio.sleep(ASK_AGAIN_S)

    def _left(self, until: float, at_most_s: float) -> float:
        return min(at_most_s, until - self._clock())


_NO_PROOF: Step = ("SELECT true", ())


async def _rows(connection: Connection, question: Question) -> list[Row]:
    began = time.perf_counter()
    try:
        with Work("postgresql", {"db.operation.name": "list", "hotshelf.shard": connection.shard}):
            cursor = await connection.execute(
                question.statement, question.values, prepare=question.prepare
            )
            return await cursor.fetchall()
    finally:
        spread = STATEMENT_SECONDS.of(connection.shard, "list")
        spread.observe(time.perf_counter() - began)
