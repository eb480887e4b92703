"""One PostgreSQL server: its pool, its deadlines, and what its failures mean.

Connections are autocommit (a read is one round trip; transactions are asked for), give jsonb
back as its UTF-8 text, and carry statement, lock and idle-in-transaction timeouts.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import psycopg
import psycopg.types.json
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from service.model.errors import DatabaseTimeout, Overloaded, ShardUnavailable
from service.settings import Database
from service.store import statements

Row: TypeAlias = tuple[Any, ...]
Connection: TypeAlias = AsyncConnection[Row]


def conninfo(url: str, settings: Database) -> str:
    """The node's URL with the timeouts every one of our connections carries."""
    timeout_ms = round(settings.timeout_s * 1000)
    options = (
        f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}"
        " -c idle_in_transaction_session_timeout=5000 -c timezone=UTC"
    )
    return make_conninfo(
        url,
        connect_timeout=max(2, round(settings.connect_timeout_s)),
        tcp_user_timeout=timeout_ms,
        options=options,
        application_name="hotshelf",
    )


class Node:
    """One server of a shard. Whether it is the primary is asked, not configured."""

    def __init__(self, url: str, settings: Database) -> None:
        self._settings = settings
        self._conninfo = conninfo(url, settings)
        self._watch: Connection | None = None
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=settings.pool_size,
            timeout=settings.timeout_s,
            max_waiting=settings.pool_size * 100,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        """Start the pool; a server that is down now is connected to when it is up."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self.drop_watch()
        await self._pool.close(timeout=1.0)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A pooled connection, given back at the end; failures come out as our errors."""
        with _as_our_errors():
            async with self._pool.connection() as connection:
                yield connection

    async def is_primary(self) -> bool | None:
        """Ask the server over a connection of its own; None when it does not answer."""
        try:
            if self._watch is None:
                self._watch = await AsyncConnection.connect(self._conninfo, autocommit=True)
            cursor = await self._watch.execute(statements.NODE_ROLE)
            row = await cursor.fetchone()
        except psycopg.Error:
            await self.drop_watch()
            return None
        return row is not None and not row[0]

    async def drop_watch(self) -> None:
        """Ask over a new connection next time: a deadline may have cut a question short."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.close()


async def _configure(connection: Connection) -> None:
    psycopg.types.json.set_json_loads(_text_as_it_is, connection)


def _text_as_it_is(text: str | bytes) -> bytes:
    """jsonb stays the bytes PostgreSQL wrote: a parser would cost time, a float its digits."""
    return text.encode() if isinstance(text, str) else bytes(text)


@contextmanager
def _as_our_errors() -> Iterator[None]:
    """A driver error's text may quote a row, so none of it goes on to the caller."""
    try:
        yield
    except TooManyRequests:
        raise Overloaded("Too many requests are waiting.", retry_after_s=1) from None
    except PoolTimeout:
        raise ShardUnavailable("The database cannot be reached.", retry_after_s=1) from None
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        raise DatabaseTimeout("The database took too long.", retry_after_s=1) from None
    except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction):
        raise ShardUnavailable("The database connection was lost.", retry_after_s=1) from None
