"""Subscribes to one Redis channel over a connection of its own.

The connection is pinged, because silence may also mean that it is dead; the user is notified when
messages may be missing. Needs RESP3 (Redis 6).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from service.cache.connection import Connection, encode
from service.cache.endpoint import connect, parse_url
from service.cache.keeper import Keeper
from service.flow.deadline import within
from service.model.errors import CacheUnavailable

_CONNECT_TIMEOUT_S = 1.0
_BACKOFF_S = 0.5


class Subscription:
    """Belongs to the event loop that called ``open``.

    ``on_message`` gets each message's bytes. ``on_state`` gets True when Redis has confirmed
    the subscription and False when its connection ends, at the latest ``ping_s + timeout_s``
    after the last sign of life; no message comes after that, and some may have been missed.
    """

    def __init__(
        self,
        url: str,
        channel: bytes,
        on_message: Callable[[bytes], None],
        on_state: Callable[[bool], None],
        *,
        ping_s: float = 1.0,
        timeout_s: float = 0.25,
    ) -> None:
        self._endpoint = parse_url(url)
        self._channel = channel
        self._on_message = on_message
        self._on_state = on_state
        self._ping_s = ping_s
        self._timeout_s = timeout_s
        self._confirmed = False
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._keeper = Keeper(self._stay_subscribed, _BACKOFF_S)

    async def open(self) -> None:
        """Start connecting, and reconnect as long as it is open.

        Returns after the first attempt, whether or not it succeeded.
        """
        await self._keeper.open()

    async def close(self) -> None:
        """End the connection; ``on_state`` gets False if it was True."""
        await self._keeper.close()

    async def _stay_subscribed(self) -> None:
        self._lost.clear()
        try:
            self._connection = await within(
                _CONNECT_TIMEOUT_S, connect(self._endpoint, self._make, ())
            )
            # No callback, because the confirmation is a push message.
            self._connection.write([encode((b"SUBSCRIBE", self._channel))], [])
            await self._ping_until_lost(self._connection)
        except (CacheUnavailable, OSError, TimeoutError):
            pass
        finally:
            if self._connection is not None:
                self._connection.abort("The subscription ends.")

    def _make(self) -> Connection:
        return Connection(self._timeout_s, self._forget, self._pushed)

    async def _ping_until_lost(self, connection: Connection) -> None:
        while not connection.lost:
            # A PING that is not answered in time ends the connection.
            connection.write([encode((b"PING",))], [_ignore])
            with suppress(TimeoutError):
                async with asyncio.timeout(self._ping_s):
                    await self._lost.wait()

    def _forget(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._lost.set()
            self._set_confirmed(False)

    def _pushed(self, message: list[Any]) -> None:
        if message[0] == b"message":
            self._on_message(message[2])
        elif message[0] == b"subscribe":
            self._set_confirmed(True)
            self._keeper.tried.set()

    def _set_confirmed(self, confirmed: bool) -> None:
        if confirmed != self._confirmed:
            self._confirmed = confirmed
            self._on_state(confirmed)


def _ignore(_: Any) -> None:
    pass
