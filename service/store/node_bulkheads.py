"""What stands before each node a read may ask: a breaker and a bound on what is under way."""

import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from service.flow.breaker import Breaker, Policy, State, Status
from service.flow.deadline import within
from service.model.errors import DatabaseTimeout, Overloaded, ShardUnavailable
from service.store import statements
from service.store.connection import Row
from service.store.nodes import Node
from service.store.round_trip import Step, round_trip
from service.store.shards import Shard

T = TypeVar("T")

_REPLICA = Policy(window_s=2.0, calls_min=3, slow_s=0.25)
# A slow primary is not given up: without it nothing is proved. Only one that fails is.
_PRIMARY = Policy(window_s=2.0, calls_min=3, slow_s=math.inf)


class Guard:
    """One node. ``in_flight`` are the ids whose reads are under way there."""

    def __init__(self, name: str, breaker: Breaker, limit: int, clock: Callable[[], float]) -> None:
        self.name = name
        self.breaker = breaker
        self.in_flight = 0
        self._limit = limit
        self._clock = clock

    async def attempt(
        self,
        ids: int,
        seconds: float,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        at_last: bool = False,
    ) -> T:
        """The result of ``work``, which may take ``seconds``.

        Raises what it raises, DatabaseTimeout, and at once ShardUnavailable while the breaker is
        open and Overloaded where too much is under way. ``at_last``: there is nobody else to
        ask, so an open breaker, which could only refuse, refuses nothing.
        """
        if self.in_flight + ids > self._limit:
            raise Overloaded("Too many reads are under way.", retry_after_s=1)
        ticket = self.breaker.admit()
        if ticket is None and not at_last:
            raise ShardUnavailable("The database node has failed too often.", retry_after_s=1)
        began, well = self._clock(), False
        try:
            with self.counted(ids):
                result = await within(max(0.0, seconds), work())
            well = True
        except (Overloaded, ShardUnavailable) as error:
            # That no connection was free says something of us, that one was lost little of the
            # node: it costs no waiting, and the next may work.
            well = error.run_again or isinstance(error, Overloaded)
            raise
        except TimeoutError:
            raise DatabaseTimeout("The database took too long.", retry_after_s=1) from None
        finally:
            if ticket is not None:
                self.breaker.report(ticket, ok=well, took_s=self._clock() - began)
        return result

    @contextmanager
    def counted(self, ids: int) -> Iterator[None]:
        """Work there that may take its time: it makes the node busier, and judges it not."""
        self.in_flight += ids
        try:
            yield
        finally:
            self.in_flight -= ids


class Guards:
    """The guards of all nodes, made when they are first asked for."""

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[str, State], None] = lambda _name, _state: None,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._on_change = on_change
        self._by_name: dict[str, Guard] = {}

    def of_primary(self, shard: Shard) -> Guard:
        """One for whichever node it is."""
        return self._guard(f"shard-{shard.number}/primary", _PRIMARY)

    def of_replicas(self, shard: Shard) -> list[tuple[Node, Guard]]:
        """The replicas with theirs, the least loaded first."""
        numbers = {node: number for number, node in enumerate(shard.nodes)}
        found = [
            (node, self._guard(f"shard-{shard.number}/node-{numbers[node]}", _REPLICA))
            for node in shard.replicas
        ]
        return sorted(found, key=lambda pair: pair[1].in_flight)

    async def ask_primary(
        self, shard: Shard, ids: int, seconds: Callable[[], float], *steps: Step
    ) -> list[list[Row]]:
        """The primary's position and what else is asked of it; its connection may be lost once.

        ``seconds`` tells how long it may take from now on. Raises as ``attempt`` does.
        """
        guard = self.of_primary(shard)

        async def ask() -> list[list[Row]]:
            async with shard.primary(reading=True) as connection:
                return await round_trip(connection, (statements.WAL_POSITION, ()), *steps)

        try:
            return await guard.attempt(ids, seconds(), ask)
        except ShardUnavailable as error:
            if not error.run_again:
                raise
        return await guard.attempt(ids, seconds(), ask)

    def statuses(self) -> dict[str, Status]:
        return {name: guard.breaker.status() for name, guard in self._by_name.items()}

    def _guard(self, name: str, policy: Policy) -> Guard:
        guard = self._by_name.get(name)
        if guard is None:
            breaker = Breaker(
                self._clock, policy, on_change=lambda state: self._on_change(name, state)
            )
            guard = self._by_name[name] = Guard(name, breaker, self._limit, self._clock)
        return guard
