"""Shards and the map of buckets to them.

An item's bucket is PostgreSQL's own hash partition of its id (``native.bucket_of``), and the map
says which shard owns the bucket. A shard is a set of nodes, which are queried for their role every
second and at once after a failure, so a promotion needs no restart. Of several that take writes the
one on the highest timeline is the primary (store/timelines.py).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from service import native
from service.flow.deadline import within
from service.model.errors import ShardUnavailable
from service.observe.events import map_changed, primary_changed, rival_primaries
from service.settings import Database
from service.store import statements
from service.store.connection import Connection
from service.store.nodes import WAITING_A_CONNECTION, Node
from service.store.timelines import NodeState, Timelines

_WATCH_INTERVAL_S = 1.0
_ASK_TIMEOUT_S = 2.0


class ShardMapError(Exception):
    """The settings and the state of the databases contradict each other."""


class BucketMoved(Exception):
    """This shard does not own the bucket (any more); nothing was changed."""


class Shard:
    """One primary and its replicas. Every use of a connection has a deadline."""

    def __init__(
        self,
        number: int,
        urls: Sequence[str],
        settings: Database,
        timelines: Timelines,
        on_promotion: Callable[[], None],
    ) -> None:
        self.number = number
        self.nodes = [Node(url, settings, number, n) for n, url in enumerate(urls)]
        # Nodes that take writes but are not the primary, with their timelines.
        self.rivals: dict[int, int] = {}
        # Nodes with fsync off.
        self.unsafe: list[int] = []
        self._timelines = timelines
        self._on_promotion = on_promotion
        self._primary: Node | None = None
        self._timeline = 0  # of that primary
        # The last primary that was logged.
        self._told_primary = ""
        self._replicas: list[Node] = []
        self._probe_now = asyncio.Event()
        self._answered = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._dropping: asyncio.Future[None] | None = None

    async def open(self) -> None:
        await asyncio.gather(*(node.open() for node in self.nodes))
        await self._ask_roles()

    def watch(self) -> None:
        """Query the nodes' roles periodically; call it after ``open``."""
        self._watching = asyncio.create_task(self._watch_roles())

    def probe_now(self) -> None:
        """Query at once, because another shard's database may know of a promotion of this one."""
        if self._timeline < self._timelines.of(self.number):
            self._primary = None
        self._probe_now.set()

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.gather(*(node.close() for node in self.nodes))

    @property
    def primary_known(self) -> bool:
        return self._primary is not None

    @property
    def hanging(self) -> int:
        """Abandoned writes that are still running on the primary."""
        return 0 if self._primary is None else self._primary.hanging

    @property
    def replicas(self) -> list[Node]:
        """The nodes that were replicas at the last query."""
        return self._replicas

    @asynccontextmanager
    async def primary(self, *, reading: bool = False) -> AsyncIterator[Connection]:
        """A connection to the primary. Raises ShardUnavailable at once while there is none, and,
        unless for ``reading``, while the maximum of COMMITs hangs.

        Only right after a failure it waits for the next query of the nodes' roles.
        """
        node = self._primary or await self._new_primary()
        try:
            async with node.connection(reading=reading) as connection:
                yield connection
        except ShardUnavailable as error:
            # Not if no connection was free, because that says nothing about the server.
            if error.run_again and self._primary is node:
                self._primary = None
                self._answered.clear()
                self._dropping = asyncio.ensure_future(node.drop_connections())
            self._probe_now.set()
            raise

    async def _new_primary(self) -> Node:
        self._probe_now.set()
        while True:
            await self._answered.wait()
            if self._primary is not None:
                return self._primary
            if self._answered.is_set():
                raise ShardUnavailable("This item's shard has no primary.", retry_after_s=1)
            # Found, but lost again by another task before this one ran.

    async def _watch_roles(self) -> None:
        while True:
            # Not wait_for, because it swallows a cancellation that arrives as the event is set.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_INTERVAL_S):
                    await self._probe_now.wait()
            self._probe_now.clear()
            await self._ask_roles()
            if self._primary is None:
                await asyncio.sleep(_WATCH_INTERVAL_S / 10)

    async def _ask_roles(self) -> None:
        states = await asyncio.gather(*(self._probe(node) for node in self.nodes))
        answered = {n: s for n, s in zip(self.nodes, states, strict=True) if s is not None}
        for state in answered.values():
            self._timelines.learn({self.number: state.timeline})
        self._choose(answered)
        self._answered.set()
        primary = "" if self._primary is None else self._primary.name
        if primary != self._told_primary:
            primary_changed(self.number, self._told_primary, primary)
            self._told_primary = primary
        if self._primary is not None and self._primary in answered:
            await self._remember(self._primary, answered[self._primary])

    def _choose(self, answered: Mapping[Node, NodeState]) -> None:
        """Determine the primary and the replicas from the nodes' states."""
        highest = self._timelines.of(self.number)
        primaries = [n for n, s in answered.items() if s.takes_writes and s.timeline == highest]
        if self._primary not in primaries:
            self._primary = primaries[0] if primaries else None
        if self._primary is not None:
            self._timeline = highest
        self._replicas = [
            n for n, s in answered.items() if not s.takes_writes and s.timeline in (0, highest)
        ]
        rivals = {
            self.nodes.index(n): s.timeline
            for n, s in answered.items()
            if s.takes_writes and n is not self._primary
        }
        if rivals != self.rivals:
            rival_primaries(self.number, rivals, highest)
        self.rivals = rivals
        self.unsafe = [self.nodes.index(n) for n, s in answered.items() if not s.fsync]

    async def _remember(self, node: Node, state: NodeState) -> None:
        unknown = self._timelines.unknown_to(state)
        if not unknown:
            return
        try:
            await within(_ASK_TIMEOUT_S, node.remember(unknown))
        except TimeoutError:
            await node.drop_watch()

    async def _probe(self, node: Node) -> NodeState | None:
        try:
            state = await within(_ASK_TIMEOUT_S, node.state())
        except TimeoutError:
            await node.drop_watch()
            return None
        if state is None:
            return None
        if self._timelines.learn(state.remembered):
            self._on_promotion()
        highest = self._timelines.of(self.number)
        if state.takes_writes and self._primary is None and 0 < highest <= state.timeline:
            # So that a hanging node does not delay the result of the others.
            self._primary, self._timeline = node, state.timeline
            self._answered.set()
        return state


class Shards:
    """All shards of one installation. ``kept`` is memory for timelines that outlives the worker."""

    def __init__(self, settings: Database, kept: "memoryview[int] | None" = None) -> None:
        self.timelines = Timelines(len(settings.shards), kept)
        self.all = [
            Shard(n, urls, settings, self.timelines, self._promoted)
            for n, urls in enumerate(settings.shards)
        ]
        self.buckets = settings.buckets
        self.max_waiting = settings.pool_size * WAITING_A_CONNECTION
        self._timeout_s = settings.timeout_s
        self._owner: list[Shard] = []

    async def open(self) -> None:
        """Connect, and read the map from any shard that answers.

        Raises ShardMapError if the databases were migrated with other settings. If no shard
        answers, the map stays empty and every item's shard is unavailable until ``load_map``
        succeeds.
        """
        await self.connect()
        with contextlib.suppress(ShardUnavailable):
            await self.load_map()

    async def connect(self) -> None:
        """``open`` without the map, for callers that use a shard by its number."""
        await asyncio.gather(*(shard.open() for shard in self.all))
        # Now that the timelines stored in all databases are known.
        self._promoted()
        for shard in self.all:
            shard.watch()

    def _promoted(self) -> None:
        for shard in self.all:
            shard.probe_now()

    async def close(self) -> None:
        await asyncio.gather(*(shard.close() for shard in self.all))

    async def of(self, item_id: bytes) -> Shard:
        """The shard that owns an item's bucket. Raises ShardUnavailable."""
        if not self._owner:
            await self.load_map()
        return self._owner[native.bucket_of(item_id, self.buckets)]

    def owners(self) -> list[int]:
        """The number of each bucket's shard; empty before the map was read."""
        return [shard.number for shard in self._owner]

    def owner_of(self, item_id: bytes) -> Shard | None:
        """As ``of``, without waiting; None until the map was read once."""
        return self._owner[native.bucket_of(item_id, self.buckets)] if self._owner else None

    async def load_map(self) -> None:
        """Reload the shard map. Raises ShardUnavailable when no shard answers."""
        for shard in self.all:
            try:
                rows = await within(self._timeout_s, _read_map(shard))
            except (ShardUnavailable, TimeoutError):
                continue
            if len(rows) != self.buckets or any(owner >= len(self.all) for _, owner, _ in rows):
                raise ShardMapError(
                    f"the databases have {len(rows)} buckets on shards up to "
                    f"{max((owner for _, owner, _ in rows), default=0)}; the settings say "
                    f"{self.buckets} buckets on {len(self.all)} shards; has `hotshelf migrate` run?"
                )
            known, self._owner = self._owner, [self.all[owner] for _, owner, _ in rows]
            moved = sum(a is not b for a, b in zip(known, self._owner, strict=False))
            if moved or not known:
                map_changed(moved, self.buckets)
            return
        raise ShardUnavailable("No shard can be reached.", retry_after_s=1)

    async def after_move(self) -> ShardUnavailable:
        """The error to raise for BucketMoved; reloads the map for the next attempt."""
        await self.load_map()
        moving = "This item is moving to another shard."
        return ShardUnavailable(moving, retry_after_s=1, run_again=True)


async def _read_map(shard: Shard) -> list[tuple[int, int, int]]:
    async with shard.primary(reading=True) as connection:
        cursor = await connection.execute(statements.SHARD_MAP)
        return [(int(b), int(s), int(e)) for b, s, e in await cursor.fetchall()]
