"""A bulkhead and circuit breaker per node: bounded concurrency, no reads of a failing node."""

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
# Only failures open it, not slowness, because without the primary nothing can be proved.
_PRIMARY = Policy(window_s=2.0, calls_min=3, slow_s=math.inf)


class NodeBulkhead:
    """One node's limit and breaker. ``in_flight`` counts the ids being read there."""

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
        """The result of ``work``, limited to ``seconds``.

        Raises what it raises, DatabaseTimeout, and at once ShardUnavailable while the breaker is
        open, and Overloaded if too many ids are being read. ``at_last``: this is the last node to
        try, so an open breaker is ignored.
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
            # Neither counts as a failure of the node, because a full pool is this worker's load,
            # and a lost connection costs no time and the next one may work.
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
        """Count long work as in flight, without affecting the breaker."""
        self.in_flight += ids
        try:
            yield
        finally:
            self.in_flight -= ids


class NodeBulkheads:
    """The bulkheads of all nodes, made at their first use."""

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[str, State], None] = lambda _name, _state: None,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._on_change = on_change
        self._by_name: dict[str, NodeBulkhead] = {}

    def of_primary(self, shard: Shard) -> NodeBulkhead:
        """The primary's, whichever node that is."""
        return self._bulkhead(f"shard-{shard.number}/primary", _PRIMARY)

    def of_replicas(self, shard: Shard) -> list[tuple[Node, NodeBulkhead]]:
        """The replicas and their bulkheads, the least loaded first."""
        numbers = {node: number for number, node in enumerate(shard.nodes)}
        found = [
            (node, self._bulkhead(f"shard-{shard.number}/node-{numbers[node]}", _REPLICA))
            for node in shard.replicas
        ]
        return sorted(found, key=lambda pair: pair[1].in_flight)

    async def query_primary(
        self, shard: Shard, ids: int, seconds: Callable[[], float], *steps: Step
    ) -> list[list[Row]]:
        """The rows of the WAL position and ``steps``; a lost connection is retried once.

        ``seconds`` returns the time left. Raises as ``attempt`` does.
        """
        bulkhead = self.of_primary(shard)

        async def query() -> list[list[Row]]:
            async with shard.primary(reading=True) as connection:
                return await round_trip(connection, (statements.WAL_POSITION, ()), *steps)

        try:
            return await bulkhead.attempt(ids, seconds(), query)
        except ShardUnavailable as error:
            if not error.run_again:
                raise
        return await bulkhead.attempt(ids, seconds(), query)

    def statuses(self) -> dict[str, Status]:
        return {name: bulkhead.breaker.status() for name, bulkhead in self._by_name.items()}

    def _bulkhead(self, name: str, policy: Policy) -> NodeBulkhead:
        bulkhead = self._by_name.get(name)
        if bulkhead is None:
            breaker = Breaker(
                self._clock, policy, on_change=lambda state: self._on_change(name, state)
            )
            bulkhead = self._by_name[name] = NodeBulkhead(name, breaker, self._limit, self._clock)
        return bulkhead
