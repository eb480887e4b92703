"""Shards and the map of buckets to them.

An item's bucket is PostgreSQL's own hash partition of its id (``native.bucket_of``), and the
map says which shard owns the bucket. A shard is a set of nodes; which one is the primary is
found by asking them, every second and at once after a failure, so a promotion needs no restart.
Of several that take writes the highest timeline counts (store/timelines.py).
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
    """The settings and what the databases say of themselves do not fit together."""


class BucketMoved(Exception):
    """This shard does not own the bucket, or not any more; nothing was changed."""


class Shard:
    """One primary and its replicas. Every connection of it has a deadline."""

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
        # Nodes that say that they take writes and are not believed, with their timelines.
        self.rivals: dict[int, int] = {}
        # Nodes with fsync off.
        self.unsafe: list[int] = []
        self._timelines = timelines
        self._on_promotion = on_promotion
        self._primary: Node | None = None
        self._timeline = 0  # of that primary
        # Which node the log was told of last.
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
        """Go on asking who is the primary; after ``open``."""
        self._watching = asyncio.create_task(self._watch_roles())

    def probe_now(self) -> None:
        """Another shard's database may remember a promotion of this one."""
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
        """Writes that were given up, of which the primary still does something."""
        return 0 if self._primary is None else self._primary.hanging

    @property
    def replicas(self) -> list[Node]:
        """The nodes that said they were replicas when last asked."""
        return self._replicas

    @asynccontextmanager
    async def primary(self, *, reading: bool = False) -> AsyncIterator[Connection]:
        """A connection to the primary. Raises ShardUnavailable at once while there is none, and
        where as many COMMITs hang as may be under way, unless it is for ``reading``.

        Only just after a failure it waits, for the nodes to say who is the primary now.
        """
        node = self._primary or await self._new_primary()
        try:
            async with node.connection(reading=reading) as connection:
                yield connection
        except ShardUnavailable as error:
            # Not where no connection was free: that says nothing about the server.
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
            # Found, and lost again by somebody else before this one got its turn.

    async def _watch_roles(self) -> None:
        while True:
            # Not wait_for, which swallows a cancellation that comes just as the event is set.
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
        """The primary and the replicas, of what the nodes said of themselves."""
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
            # A node that hangs keeps nobody waiting for the one that answered.
            self._primary, self._timeline = node, state.timeline
            self._answered.set()
        return state


class Shards:
    """All shards of one installation. ``kept`` is memory for timelines that outlives us."""

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

        Raises ShardMapError where the databases were migrated for other settings. While no
        shard answers, the map stays empty and every item's shard is unavailable until
        ``load_map`` succeeds.
        """
        await self.connect()
        with contextlib.suppress(ShardUnavailable):
            await self.load_map()

    async def connect(self) -> None:
        """``open`` without the map, for whoever asks a shard by its number."""
        await asyncio.gather(*(shard.open() for shard in self.all))
        # Now that all databases have told which timelines they remember.
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
        """The number of the shard that owns each bucket; empty before the map was read."""
        return [shard.number for shard in self._owner]

    def owner_of(self, item_id: bytes) -> Shard | None:
        """As ``of``, without waiting: None before the map was ever read."""
        return self._owner[native.bucket_of(item_id, self.buckets)] if self._owner else None

    async def load_map(self) -> None:
        """Read the shard map anew. Raises ShardUnavailable when no shard answers."""
        for shard in self.all:
            try:
                rows = await within(self._timeout_s, _read_map(shard))
            except (ShardUnavailable, TimeoutError):
                continue
            if len(rows) != self.buckets or any(owner >= len(self.all) for _, owner, _ in rows):
                raise ShardMapError(
                    f"the databases hold {len(rows)} buckets on shards up to "
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
        """What to raise instead of BucketMoved, with the map read anew for the next attempt."""
        await self.load_map()
        moving = "This item is moving to another shard."
        return ShardUnavailable(moving, retry_after_s=1, run_again=True)


async def _read_map(shard: Shard) -> list[tuple[int, int, int]]:
    async with shard.primary(reading=True) as connection:
        cursor = await connection.execute(statements.SHARD_MAP)
        return [(int(b), int(s), int(e)) for b, s, e in await cursor.fetchall()]
