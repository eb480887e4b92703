"""One PostgreSQL server: its connection pool, and queries of its state."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import psycopg
from psycopg_pool import AsyncConnectionPool

from service.flow.deadline import to_the_end, within
from service.model.errors import Overloaded, ShardUnavailable
from service.settings import Database
from service.store.connection import (
    KEEP_COMMITS_SYNCHRONOUS,
    Connection,
    Row,
    conninfo,
    our_error,
    spoils,
)
from service.store.timelines import NODE_STATE, REMEMBER, REMEMBER_LOCALLY, REMEMBERED, NodeState

logger = logging.getLogger(__name__)

# Waiting requests per connection; more are refused at once.
WAITING_A_CONNECTION = 100

# A reconnecting pool doubles its pauses up to minutes; one that gave up reconnects at the next
# request, so it gives up early.
_RECONNECT_S = 1.0


class Node:
    """One server of a shard. Its role is queried, not configured.

    ``name`` is its name in metrics and logs: shard-0/node-1.
    """

    def __init__(self, url: str, settings: Database, shard: int = 0, number: int = 0) -> None:
        self.name = f"shard-{shard}/node-{number}"
        self._shard = str(shard)
        self._settings = settings
        self._conninfo = conninfo(url, settings)
        self._watch: Connection | None = None
        self._is_asynchronous = False
        # Some connections are reserved for reads, because they work even while COMMITs hang.
        size = settings.pool_size
        self._writes_max = max(1, size - max(1, size // 4))
        self._writes = asyncio.Semaphore(self._writes_max)
        self._writes_waiting = 0
        self._closed = False
        self._leaving: dict[asyncio.Task[None], bool] = {}
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=settings.pool_size,
            timeout=settings.timeout_s,
            max_waiting=settings.pool_size * WAITING_A_CONNECTION,
            reconnect_timeout=_RECONNECT_S,
            configure=self._configure,
            open=False,
        )

    async def _configure(self, connection: Connection) -> None:
        """Prepare a new connection; refuses one that would garble text or lose commits."""
        encoding = connection.pgconn.parameter_status(b"server_encoding")
        if encoding != b"UTF8":
            await connection.close()
            raise psycopg.OperationalError(f"the database's encoding is {encoding!r}, not UTF8")
        connection.get_ready()
        connection.shard = self._shard
        asking = _rows(connection, KEEP_COMMITS_SYNCHRONOUS)
        [row] = await within(self._settings.connect_timeout_s, asking)
        if row[0] == "off" and not self._is_asynchronous:
            logger.warning("synchronous_commit is off by default; turned on for our connections")
        self._is_asynchronous = row[0] == "off"

    async def open(self) -> None:
        """Start the pool; it connects to a server that is down once that is up."""
        await self._pool.open(wait=False)

    @property
    def hanging(self) -> int:
        """Abandoned writes whose server processes have not ended."""
        return sum(self._leaving.values())

    async def close(self) -> None:
        self._closed = True
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self.drop_watch()
        await self._pool.close(timeout=1.0)

    @asynccontextmanager
    async def connection(self, *, reading: bool = False) -> AsyncIterator[Connection]:
        """A pooled connection; afterwards it is returned clean, or closed.

        Raises ShardUnavailable, Overloaded and DatabaseTimeout for the driver's errors, with
        ``run_again`` where repeating a transaction's statements is safe, even for an unknown
        COMMIT. A caller that is not ``reading`` is refused at once while the maximum of COMMITs
        hangs. An abandoned connection counts against the pool until its server process has ended.
        """
        left = False
        if not reading:
            await self._begin_write()
        try:
            connection = await self._pool.getconn()
            connection.lent = True
            try:
                yield connection
            except (psycopg.Error, asyncio.CancelledError) as error:
                stays = connection.left and not self._closed
                if not stays and (spoils(error) or not connection.idle):
                    await connection.close()
                raise
            finally:
                left = connection.left and not self._closed
                if left:
                    self._leave(connection, reading)
                else:
                    connection.lent = False
                    await to_the_end(self._pool.putconn(connection))
        except psycopg.Error as error:
            raise our_error(error) from None
        finally:
            if not reading and not left:
                self._writes.release()

    async def _begin_write(self) -> None:
        if self.hanging >= self._writes_max:
            raise ShardUnavailable("Its commits wait for a standby.", retry_after_s=1)
        if not self._writes.locked():
            await self._writes.acquire()
            return
        if self._writes_waiting >= self._writes_max * WAITING_A_CONNECTION:
            raise Overloaded("Too many requests are waiting.", retry_after_s=1)
        self._writes_waiting += 1
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._writes.acquire()
        except TimeoutError:
            raise ShardUnavailable("The database is busy.", retry_after_s=1) from None
        finally:
            self._writes_waiting -= 1

    def _leave(self, connection: Connection, reading: bool) -> None:
        """Let it count against the pool until its server process has ended."""

        def ended(task: asyncio.Task[None]) -> None:
            del self._leaving[task]
            if not reading:
                self._writes.release()

        task = asyncio.create_task(self._wait_for_end(connection))
        self._leaving[task] = not reading
        task.add_done_callback(ended)

    async def _wait_for_end(self, connection: Connection) -> None:
        try:
            await connection.ended()
        finally:
            await connection.close()
            await to_the_end(self._pool.putconn(connection))

    def pool_stats(self) -> dict[str, int]:
        """The counters of psycopg's pool (its documentation, "Pool stats")."""
        return self._pool.get_stats()

    async def drop_connections(self) -> None:
        """Replace every connection; those in use when they are returned."""
        await self._pool.drain()

    async def state(self) -> NodeState | None:
        """Query the server over a separate connection; None if it does not answer."""
        known = self._watch is not None
        state = await self._ask_state()
        # Retried once, because an old connection may have ended with the server's last run.
        return await self._ask_state() if state is None and known else state

    async def _ask_state(self) -> NodeState | None:
        try:
            if self._watch is None:
                self._watch = await Connection.connect(self._conninfo, autocommit=True)
            [(takes_writes, timeline, fsync)] = await _rows(self._watch, NODE_STATE)
            try:
                remembered = await _rows(self._watch, REMEMBERED)
            except psycopg.errors.UndefinedTable:
                remembered = []  # not migrated yet
        except psycopg.Error:
            await self.drop_watch()
            return None
        known = {shard: timeline for shard, timeline in remembered}  # noqa: C416  # names them
        return NodeState(takes_writes, timeline, fsync, known)

    async def remember(self, timelines: Mapping[int, int]) -> None:
        """Store them next to the shard map. A failure is retried at the node's next query."""
        watch = self._watch
        if watch is None:
            return
        try:
            async with watch.transaction():
                await watch.execute(REMEMBER_LOCALLY)
                await watch.execute(REMEMBER, (list(timelines), list(timelines.values())))
        except psycopg.Error:
            await self.drop_watch()

    async def drop_watch(self) -> None:
        """Use a new connection next time, because a deadline may have interrupted a query."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.close()


async def _rows(connection: Connection, statement: str) -> list[Row]:
    return await (await connection.execute(statement)).fetchall()
