"""One connection to a PostgreSQL server: deadlines, and translation of its errors.

Connections are autocommit (a read is one round trip; transactions are explicit), return jsonb as
its UTF-8 text, and have statement, lock and idle-in-transaction timeouts.
"""

import asyncio
import contextlib
import os
import socket
import weakref
from typing import Any, TypeAlias

import psycopg
import psycopg.types.json
from psycopg import AsyncConnection, waiting
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg_pool import PoolTimeout, TooManyRequests

from service.model.errors import DatabaseTimeout, HotshelfError, Overloaded, ShardUnavailable
from service.settings import Database
from service.store.arrays import Array, ArrayDumper

Row: TypeAlias = tuple[Any, ...]

# How often psycopg checks for an interrupt while it waits.
WAIT_INTERVAL_S = 0.1

# Size of reads from a server that still sends to an abandoned connection.
_READ_BYTES = 1 << 16

# SQLSTATEs that mean that another server may be the primary now, or that this connection is
# unusable. The statement was not executed.
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


# With it off an acknowledged commit may not be in the flushed WAL, by which replicas are proved
# fresh. Always set, because a session's own value survives a reload of the server's.
KEEP_COMMITS_SYNCHRONOUS = """
    SELECT was, set_config('synchronous_commit',
                           CASE was WHEN 'off' THEN 'on' ELSE was END, false)
      FROM (SELECT current_setting('synchronous_commit') AS was OFFSET 0) AS s"""


class Connection(AsyncConnection[Row]):
    """A connection that knows whether its last COMMIT waited for the synchronous replicas.

    ``unconfirmed`` is set when the server warns that the wait was cancelled (SQLSTATE 01000); the
    committing code resets it. ``prepared`` are the statements that ``round_trip`` prepared;
    ``shard`` is its number, for metrics. ``left`` is set when a statement was cancelled while the
    pool had ``lent`` the connection: nothing more is sent to its server process, and it counts
    against the pool until that ends.
    """

    unconfirmed = False
    shard = ""
    lent = left = False
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
        self.adapters.register_dumper(Array, ArrayDumper)
        psycopg.types.json.set_json_loads(_text_as_it_is, self)

    async def wait(
        self, gen: PQGen[RV], interval: float = WAIT_INTERVAL_S, timeout: float | None = None
    ) -> RV:
        """As psycopg's, but cancelling a statement abandons its connection.

        Because psycopg sends a cancel request, with libpq before 17 from a thread that holds the
        GIL until the server answers, so a frozen server would stop this worker. Instead the socket
        is shut down for writing: a server process that runs a statement detects that within
        client_connection_check_interval and ends, but not one whose COMMIT waits for a synchronous
        standby.
        """
        try:
            return await waiting.wait_async(
                gen, self.pgconn.socket, interval=interval, timeout=timeout
            )
        except asyncio.CancelledError:
            if not self.idle and not self.lent:
                await self.close()
            elif not self.idle:
                self.left = True
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as s:
                    s.shutdown(socket.SHUT_WR)
            raise

    async def close(self) -> None:
        """As psycopg's, but first remove the socket from the event loop.

        Another task may still wait for it, even if cancelled, and libuv aborts the process when a
        socket is closed that was just registered.
        """
        if not self.closed:
            loop, fd = asyncio.get_running_loop(), self.fileno()
            loop.remove_reader(fd)
            loop.remove_writer(fd)
        await super().close()

    async def ended(self) -> None:
        """Wait until the server process has ended, after the connection was ``left``."""
        fd, readable = self.fileno(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                with contextlib.suppress(BlockingIOError):
                    if not os.read(fd, _READ_BYTES):
                        return
        except OSError:
            return
        finally:
            loop.remove_reader(fd)

    @property
    def idle(self) -> bool:
        """Whether it is outside of any transaction with no unanswered command."""
        return (
            self.pgconn.transaction_status == TransactionStatus.IDLE
            and self.pgconn.pipeline_status == PipelineStatus.OFF
        )


def conninfo(url: str, settings: Database) -> str:
    """The node's URL with the timeouts and options of all our connections."""
    timeout_ms = round(settings.timeout_s * 1000)
    options = (
        f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}"
        " -c idle_in_transaction_session_timeout=5000 -c timezone=UTC"
        " -c client_connection_check_interval=500"
        # A new snapshot per statement, because the proof of a replica's freshness relies on it.
        r" -c default_transaction_isolation=read\ committed"
        # Because JIT compilation and parallel workers start slower than our longest statement runs.
        " -c jit=off -c max_parallel_workers_per_gather=0"
        # Because a plan made for a small table is kept for minutes, and must not scan a large one.
        " -c enable_seqscan=off"
    )
    return make_conninfo(
        url,
        client_encoding="UTF8",
        connect_timeout=max(2, round(settings.connect_timeout_s)),
        tcp_user_timeout=timeout_ms,
        # So that a wait for a server whose machine is gone ends too.
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        options=options,
        application_name="hotshelf",
    )


def spoils(error: BaseException) -> bool:
    return isinstance(error, psycopg.Error) and error.sqlstate in _ELSEWHERE


def our_error(error: psycopg.Error) -> HotshelfError | psycopg.Error:
    """The translation of a driver's error; one that can only be a bug of ours is returned as is.

    A driver error's text may quote a row, so none of it is passed on to the caller.
    """
    state = error.sqlstate or ""
    if isinstance(error, TooManyRequests):
        return Overloaded("Too many requests are waiting.", retry_after_s=1)
    if isinstance(error, PoolTimeout):
        return ShardUnavailable("The database cannot be reached.", retry_after_s=1)
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return DatabaseTimeout("The database took too long.", retry_after_s=1)
    if state.startswith("40"):
        # Serialization failure and deadlock: the other transaction won.
        return Overloaded("Too many writers want this at once.", retry_after_s=1, run_again=True)
    if state in _ELSEWHERE or is_lost(error):
        lost = "The database connection was lost."
        return ShardUnavailable(lost, retry_after_s=1, run_again=True)
    if isinstance(error, psycopg.OperationalError) and not state.startswith("54"):
        return ShardUnavailable("The database cannot do this now.", retry_after_s=1)
    return error


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection broke, so that the effect of the last statement is unknown."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.OperationalError):
        return not state or state.startswith(("08", "57P"))
    return state == "25P03"


def _text_as_it_is(text: str | bytes) -> bytes:
    """The bytes of jsonb as sent, because parsing costs time and floats lose digits."""
    return text.encode() if isinstance(text, str) else bytes(text)
