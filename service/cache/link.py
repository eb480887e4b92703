"""Keeps one connection to Redis open, behind a circuit breaker.

The breaker counts lost connections, failed attempts and slow replies. While it is open there is no
connection; its probe is to connect and to run the kinds of commands that the cache will send. So
users check only whether there is a connection, not the breaker.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from service.cache.connection import Command, Connection
from service.cache.endpoint import connect, execute, parse_url
from service.cache.keeper import Keeper
from service.flow.breaker import Breaker, Policy, State, Status
from service.flow.deadline import within
from service.model.errors import CacheUnavailable

logger = logging.getLogger(__name__)

_RETRY_S = 0.1
_CONNECT_TIMEOUT_S = 1.0
_REFUSAL_TOLD_S = 3.0
# Share of a command's deadline above which a reply is slow.
_SLOW = 0.8
_TEXT_MAX = 200


class Link:
    """Belongs to the event loop that called ``open``.

    ``on_connection`` gets each connection that enters use, and None when it has ended, just before
    its waiting commands fail. The other parameters are those of RedisPipeline.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        first: Sequence[Command],
        probe: Sequence[Command],
        on_connection: Callable[[Connection | None], None],
        on_push: Callable[[list[Any]], None] | None,
        on_breaker: Callable[[State], None],
    ) -> None:
        self._endpoint = parse_url(url)
        self._timeout_s = timeout_s
        self._first = first
        self._probe = probe
        self._on_connection = on_connection
        self._on_push = on_push
        self._breaker = Breaker(time.monotonic, _policy(timeout_s), on_change=on_breaker)
        # The breaker's ticket for the connection in use.
        self._ticket: int | None = None
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._keeper = Keeper(self._stay_connected, _RETRY_S)
        self._refusal, self._refusal_until = "", 0.0

    @property
    def breaker(self) -> Status:
        return self._breaker.status()

    @property
    def refusal(self) -> str:
        """The error word of a recent refusal by Redis (OOM, …); "" if there was none.

        Kept for longer than the breaker's pause, because a full Redis accepts a write now and then.
        """
        return self._refusal if time.monotonic() < self._refusal_until else ""

    async def open(self) -> None:
        """Start connecting; returns after the first attempt, whether or not it succeeded."""
        await self._keeper.open()

    async def close(self) -> None:
        """Drop the connection."""
        await self._keeper.close()
        if self._connection is not None:
            self._connection.abort("The service is shutting down.")

    async def _stay_connected(self) -> None:
        self._lost.clear()
        ticket = self._breaker.admit()
        if ticket is not None:
            await self._attempt(ticket)
        if self._connection is not None:
            self._keeper.tried.set()
            await self._lost.wait()

    async def _attempt(self, ticket: int) -> None:
        """One attempt to connect; the connection enters use if the breaker is closed after it."""
        try:
            connection, took_s = await within(_CONNECT_TIMEOUT_S, self._connect())
        except (CacheUnavailable, OSError, TimeoutError) as error:
            self._failed(ticket, error if isinstance(error, CacheUnavailable) else None)
            return
        self._breaker.report(ticket, ok=not connection.lost, took_s=took_s)
        if not self._breaker.closed:
            connection.abort("The cache is too slow.")
        elif not connection.lost:
            self._connection = connection
            self._ticket = self._breaker.admit()
            connection.in_use = True
            self._on_connection(connection)

    async def _connect(self) -> tuple[Connection, float]:
        """A connection that passed the whole probe, and how long that took."""

        def make() -> Connection:
            return Connection(self._timeout_s, self._forget, self._on_push, self._answered)

        connection = await connect(self._endpoint, make, self._first)
        try:
            began = time.monotonic()
            await execute(connection, *self._probe)
            [server] = await execute(connection, (b"INFO", b"server"))
            connection.run_id = _run_id(server)
        except BaseException:
            connection.abort("The cache does not take what it is going to be sent.")
            raise
        return connection, time.monotonic() - began

    def _answered(self, took_s: float) -> None:
        """The replies of a write arrived. Those of an attempt have no ticket yet."""
        if self._ticket is None:
            return
        self._breaker.report(self._ticket, ok=True, took_s=took_s)
        if not self._breaker.closed and self._connection is not None:
            self._connection.abort("The cache is too slow.")

    def _failed(self, ticket: int, error: CacheUnavailable | None) -> None:
        if error is None or not error.redis_error:
            self._breaker.report(ticket, ok=False, took_s=0.0)
            return
        if self.refusal != error.redis_error:
            logger.warning("redis refuses a command: %s", str(error.__cause__)[:_TEXT_MAX])
        self._refusal = error.redis_error
        self._refusal_until = time.monotonic() + _REFUSAL_TOLD_S
        self._breaker.trip(ticket)

    def _forget(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self._on_connection(None)
        if self._ticket is not None:
            self._failed(self._ticket, connection.ended_by)
            self._ticket = None
        self._lost.set()


def _run_id(info: Any) -> bytes:
    found = re.search(rb"^run_id:(\w+)", bytes(info), re.MULTILINE)
    if found is None:
        raise CacheUnavailable("The cache does not say which run of its server it is.")
    return found[1]


def _policy(timeout_s: float) -> Policy:
    """One successful probe is enough, because it is a whole handshake of many commands.

    Pauses are short, because no request waits for an attempt to connect.
    """
    return Policy(
        window_s=1.0,
        calls_min=3,
        slow_s=_SLOW * timeout_s,
        probes=1,
        probe_s=2 * _CONNECT_TIMEOUT_S,
        pause_max_s=1.0,
    )
