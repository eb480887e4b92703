"""One PostgreSQL server: its pool, its deadlines, and what its failures mean.

Connections are autocommit (a read is one round trip; transactions are asked for), give jsonb
back as its UTF-8 text, and carry statement, lock and idle-in-transaction timeouts.
"""

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg
import psycopg.types.json
from psycopg import AsyncConnection, waiting
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from service.flow.deadline import to_the_end
from service.model.errors import (
    DatabaseTimeout,
    HotshelfError,
    Overloaded,
    ShardUnavailable,
)
from service.settings import Database
from service.store.arrays import Array, ArrayDumper
from service.store.timelines import NODE_STATE, REMEMBER, REMEMBER_LOCALLY, REMEMBERED, NodeState

logger = logging.getLogger(__name__)

Row: TypeAlias = tuple[Any, ...]

# How many requests may wait for each connection; more are turned away at once.
WAITING_A_CONNECTION = 100

# How often psycopg looks whether it was interrupted while it waits.
WAIT_INTERVAL_S = 0.1

# A reconnecting pool pauses twice as long after each failure and for minutes in the end; one
# that gave up connects as soon as it is asked.
_RECONNECT_S = 1.0

# What of a server says that another may be the primary now, or that this connection cannot go
# on. None of these statements was executed.
_ELSEWHERE = {
    "0A000",  # feature_not_supported: a cached plan whose result type a migration changed
    "25006",  # read_only_sql_transaction: a primary that became a replica
    "25P03",  # idle_in_transaction_session_timeout
    "26000",  # invalid_sql_statement_name: a prepared statement that is gone
    "42P05",  # duplicate_prepared_statement
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
}


# With it off a commit that was acknowledged is not yet in the flushed log, which is what proves a
# replica fresh. Set always, because a session's own value outlasts a reload of the server's.
KEEP_COMMITS_SYNCHRONOUS = """
    SELECT was, set_config('synchronous_commit',
                           CASE was WHEN 'off' THEN 'on' ELSE was END, false)
      FROM (SELECT current_setting('synchronous_commit') AS was OFFSET 0) AS s"""


class Connection(AsyncConnection[Row]):
    """A connection that knows whether its last COMMIT waited for the synchronous replicas.

    ``unconfirmed`` is set when the server warns that the wait was cut short (SQLSTATE 01000);
    who commits sets it back. ``prepared`` are the statements that ``round_trip`` prepared.
    ``shard`` is its shard's number, for metrics.
    """

    unconfirmed = False
    shard = ""
    prepared: set[str]

    def get_ready(self) -> None:
        """Call once, before the first statement."""
        self.prepared = set()
        here = weakref.ref(self)

        def notice(diagnostic: psycopg.errors.Diagnostic) -> None:
            connection = here()
            if connection is not None and diagnostic.sqlstate == "01000":
                connection.unconfirmed = True

        self.add_notice_handler(notice)

    async def wait(
        self, gen: PQGen[RV], interval: float = WAIT_INTERVAL_S, timeout: float | None = None
    ) -> RV:
        """As psycopg's, but cancelling a statement costs its connection.

        psycopg would ask the server to cancel, with libpq before 17 from a thread that keeps
        the interpreter's lock until the server answers: a stopped one would stop this worker.
        The server ends the statement when it finds the connection gone.
        """
        try:
            return await waiting.wait_async(
                gen, self.pgconn.socket, interval=interval, timeout=timeout
            )
        except asyncio.CancelledError:
            if not self.idle:
                await self.close()
            raise

    @property
    def idle(self) -> bool:
        """Outside of any transaction, nothing sent that was not answered."""
        return (
            self.pgconn.transaction_status == TransactionStatus.IDLE
            and self.pgconn.pipeline_status == PipelineStatus.OFF
        )


def conninfo(url: str, settings: Database) -> str:
    """The node's URL with the timeouts every one of our connections carries."""
    timeout_ms = round(settings.timeout_s * 1000)
    options = (
        f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}"
        " -c idle_in_transaction_session_timeout=5000 -c timezone=UTC"
        " -c client_connection_check_interval=500"
        # Each statement with a snapshot of its own: what proves a replica fresh relies on it.
        r" -c default_transaction_isolation=read\ committed"
        # Compiling, or starting helpers, takes longer than our longest good statement.
        " -c jit=off -c max_parallel_workers_per_gather=0"
        # A plan made while a table was small is kept for minutes: none may read it from end to end.
        " -c enable_seqscan=off"
    )
    return make_conninfo(
        url,
        client_encoding="UTF8",
        connect_timeout=max(2, round(settings.connect_timeout_s)),
        tcp_user_timeout=timeout_ms,
        options=options,
        application_name="hotshelf",
    )


class Node:
    """One server of a shard. Whether it is the primary is asked, not configured.

    ``name`` is how metrics and logs call it: shard-0/node-1.
    """

    def __init__(self, url: str, settings: Database, shard: int = 0, number: int = 0) -> None:
        self.name = f"shard-{shard}/node-{number}"
        self._shard = str(shard)
        self._settings = settings
        self._conninfo = conninfo(url, settings)
        self._watch: Connection | None = None
        self._is_asynchronous = False
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
        """Before its first use. One that would garble text or lose commits is of no use."""
        encoding = connection.pgconn.parameter_status(b"server_encoding")
        if encoding != b"UTF8":
            raise psycopg.OperationalError(f"the database's encoding is {encoding!r}, not UTF8")
        connection.get_ready()
        connection.shard = self._shard
        connection.adapters.register_dumper(Array, ArrayDumper)
        psycopg.types.json.set_json_loads(_text_as_it_is, connection)
        cursor = await connection.execute(KEEP_COMMITS_SYNCHRONOUS)
        row = await cursor.fetchone()
        if row is not None and row[0] == "off" and not self._is_asynchronous:
            logger.warning("synchronous_commit is off by default; turned on for our connections")
        self._is_asynchronous = row is not None and row[0] == "off"

    async def open(self) -> None:
        """Start the pool; a server that is down now is connected to when it is up."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self.drop_watch()
        await self._pool.close(timeout=1.0)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A pooled connection; it goes back whole, or is closed, whatever happens meanwhile.

        Failures come out as our errors. Those after which running the same again is safe for
        statements of one transaction say so (``run_again``), an unknown COMMIT included.
        """
        try:
            connection = await self._pool.getconn()
            try:
                yield connection
            except (psycopg.Error, asyncio.CancelledError) as error:
                if _spoils(error) or not connection.idle:
                    await connection.close()
                raise
            finally:
                await to_the_end(self._pool.putconn(connection))
        except psycopg.Error as error:
            raise our_error(error) from None

    def pool_stats(self) -> dict[str, int]:
        """What psycopg's pool counts (its documentation, "Pool stats")."""
        return self._pool.get_stats()

    async def drop_connections(self) -> None:
        """Replace every connection, those in use when they come back."""
        await self._pool.drain()

    async def state(self) -> NodeState | None:
        """Ask the server over a connection of its own; None when it does not answer."""
        known = self._watch is not None
        state = await self._ask_state()
        # A connection that was there may have ended with what it stood for, and a new one work.
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
        """Keep them beside the shard map. What fails is tried again when the node is asked next."""
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
        """Ask over a new connection next time: a deadline may have cut a question short."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.close()


async def _rows(connection: Connection, statement: str) -> list[Row]:
    return await (await connection.execute(statement)).fetchall()


def _text_as_it_is(text: str | bytes) -> bytes:
    """jsonb stays the bytes PostgreSQL wrote: a parser would cost time, a float its digits."""
    return text.encode() if isinstance(text, str) else bytes(text)


def _spoils(error: BaseException) -> bool:
    return isinstance(error, psycopg.Error) and error.sqlstate in _ELSEWHERE


def our_error(error: psycopg.Error) -> HotshelfError | psycopg.Error:
    """What a driver's error means here; one that can only be a fault of ours stays as it is.

    A driver error's text may quote a row, so none of it goes on to the caller.
    """
    state = error.sqlstate or ""
    if isinstance(error, TooManyRequests):
        return Overloaded("Too many requests are waiting.", retry_after_s=1)
    if isinstance(error, PoolTimeout):
        return ShardUnavailable("The database cannot be reached.", retry_after_s=1)
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return DatabaseTimeout("The database took too long.", retry_after_s=1)
    if state.startswith("40"):
        # Serialization failure and deadlock: the other one won.
        return Overloaded("Too many writers want this at once.", retry_after_s=1, run_again=True)
    if state in _ELSEWHERE or is_lost(error):
        lost = "The database connection was lost."
        return ShardUnavailable(lost, retry_after_s=1, run_again=True)
    if isinstance(error, psycopg.OperationalError) and not state.startswith("54"):
        return ShardUnavailable("The database cannot do this now.", retry_after_s=1)
    return error


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection broke, so that what the server did with the last words is unknown."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.OperationalError):
        return not state or state.startswith(("08", "57P"))
    return state == "25P03"
