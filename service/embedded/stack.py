"""The whole development stack: N shards of one primary and R replicas, and one Redis.

The data directory contains ``state.json`` (ports and passwords, mode 600), ``lock`` (held while a
stack runs), ``log/``, ``redis/`` and one directory per PostgreSQL node.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from service.embedded.binaries import postgres_bin
from service.embedded.postgres import Creation, PostgresNode, is_cluster, timeline
from service.embedded.processes import (
    Instance,
    Server,
    StackError,
    end_leftovers,
    free_port,
    server_account,
)
from service.embedded.redis import RedisServer
from service.embedded.state import Stack, State, read_state, take_lock, write_state


class EmbeddedStack:
    """Starts, owns and stops the servers of one data directory; also a context manager.

    ``durable=False`` omits what protects only against a power failure. ``progress`` gets a short
    line before each slow step. :meth:`start` raises StackError when the directory is in use, was
    made with another number of shards, or a server does not start.
    """

    def __init__(
        self,
        data_dir: Path,
        shards: int = 2,
        replicas: int = 1,
        durable: bool = True,
        progress: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.durable = durable
        self._counts = (shards, replicas)
        self._progress = progress
        self._lock: int | None = None
        self._shards: list[list[PostgresNode]] = []
        self._redis: RedisServer | None = None

    def start(self) -> Stack:
        """Start all servers, create missing ones, and return once all accept connections."""
        try:
            return self._start()
        except StackError as error:
            # Another process may take a port between our choice and the server's start.
            if "already in use" not in str(error):
                raise
        return self._start()

    def _start(self) -> Stack:
        shards, replicas = self._counts
        if self._lock is not None:
            raise StackError(f"this stack is already running in {self.data_dir}")
        self._lock = take_lock(self.data_dir)
        try:
            state = read_state(self.data_dir, shards)
            end_leftovers(self._mark(state, ""))
            self._lay_out(state, replicas)
            self._bring_up()
        except BaseException:
            self.stop()
            raise
        state.running = Stack(self.shards, self.redis_url)
        write_state(self.data_dir, state)
        return state.running

    def stop(self) -> None:
        """Shut all servers down in parallel; no effect when none runs."""
        servers: list[Server] = [*self._nodes(), *([self._redis] if self._redis else [])]
        for server in servers:
            server.ask_to_stop()
        for server in servers:
            server.await_stopped()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def shards(self) -> list[list[str]]:
        """PostgreSQL URLs per shard, its primary first, as of the start."""
        return [[node.url for node in nodes] for nodes in self._shards]

    @property
    def redis_url(self) -> str:
        """The URL of Redis; it contains the password."""
        return self.redis.url

    @property
    def redis(self) -> RedisServer:
        """The Redis server, to kill, pause or restart."""
        if self._redis is None:
            raise StackError("the stack was not started")
        return self._redis

    def node(self, shard: int, index: int) -> PostgresNode:
        """A PostgreSQL server by its index in :attr:`shards`, to kill, pause, restart, promote."""
        return self._shards[shard][index]

    def _nodes(self) -> list[PostgresNode]:
        return [node for nodes in self._shards for node in nodes]

    def _mark(self, state: State, name: str) -> str:
        # With the inode, because a copy of the directory has the same state.
        return f"hotshelf-{state.instance}-{self.data_dir.stat().st_ino:x}-{name}"

    def _lay_out(self, state: State, replicas: int) -> None:
        account, log = server_account(), self.data_dir / "log"
        log.mkdir(mode=0o700, exist_ok=True)
        binaries = postgres_bin(account)
        taken: set[int] = set()

        def instance(name: str) -> Instance:
            state.ports[name] = port = free_port(state.ports.get(name), taken)
            mark, log_file = self._mark(state, name), log / f"{name}.log"
            return Instance(self.data_dir / name, log_file, mark, port, state.password, account)

        def node(name: str) -> PostgresNode:
            return PostgresNode(instance(name), binaries=binaries, durable=self.durable)

        self._redis = RedisServer(instance("redis"))
        self._shards = []
        for shard in range(state.shards):
            names = _node_names(self.data_dir, shard, replicas)
            primary, *copies = nodes = [node(name) for name in names]
            for copy in copies:
                copy.primary = primary
            self._shards.append(nodes)
            _drop_surplus(self.data_dir, shard, names)
        write_state(self.data_dir, state)

    def _bring_up(self) -> None:
        # All of one kind at once, so that servers start in parallel.
        self.redis.spawn()
        nodes = self._nodes()
        ready_made = [node for node in nodes if node.is_complete]
        missing = [node for node in nodes if not node.is_complete]
        primaries = [node for node in missing if node.primary is None]
        replicas = [node for node in missing if node.primary is not None]
        if primaries:
            self._progress(f"PostgreSQL: creating {len(primaries)} database cluster(s)")
        _create(primaries)
        self._progress("starting PostgreSQL and Redis")
        _start([*ready_made, *primaries])
        if replicas:
            self._progress(f"PostgreSQL: copying {len(replicas)} replica(s)")
        _create(replicas)
        _start(replicas)
        for node in nodes:
            if node.primary is not None and not node.streams():
                self._progress(f"PostgreSQL: {node.name} cannot catch up, copying it again")
                node.rejoin(node.primary)
        self.redis.await_ready()


def _create(nodes: Iterable[PostgresNode]) -> None:
    begun: list[Creation] = []
    try:
        begun.extend(node.begin_creation() for node in nodes)
        for creation in begun:
            creation.finish()
    finally:
        for creation in begun:
            creation.abandon()


def _start(nodes: list[PostgresNode]) -> None:
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.await_ready()


def _node_names(data_dir: Path, shard: int, replicas: int) -> list[str]:
    """Directory names of a shard, its primary first.

    After a failover the primary is not number 0: of several clusters that were primaries, the one
    on the highest timeline has the latest acknowledged writes, and the others become copies of it.
    """
    made = [path.name for path in _node_directories(data_dir, shard) if is_cluster(path)]
    copies = [name for name in made if (data_dir / name / "standby.signal").exists()]
    # Because its replicas would become copies of a new, empty primary.
    if made and made == copies:
        raise StackError(
            f"the primary of shard {shard} is gone from {data_dir}: put it back, or remove"
            f" {made[0]}/standby.signal to continue with the data of that copy"
        )
    numbered = [f"shard-{shard}-node-{number}" for number in range(replicas + 1)]
    primaries = [name for name in made if name not in copies]
    primary = max(primaries, key=lambda name: timeline(data_dir / name), default=numbered[0])
    return [primary, *[name for name in numbered if name != primary][:replicas]]


def _node_directories(data_dir: Path, shard: int) -> list[Path]:
    found = data_dir.glob(f"shard-{shard}-node-*")
    return sorted(path for path in found if path.name.rpartition("-")[2].isdigit())


def _drop_surplus(data_dir: Path, shard: int, wanted: list[str]) -> None:
    for path in _node_directories(data_dir, shard):
        if path.name not in wanted:
            shutil.rmtree(path)
