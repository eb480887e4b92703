"""Redis for one worker: all commands of one event-loop tick are sent in one write.

Commands are collected until the next turn of the loop, so a burst of requests costs one system call
in each direction. Without a connection commands fail at once. A Redis that is unreachable, slow,
full or otherwise unusable always raises CacheUnavailable and never looks like an absent key.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from service.cache.connection import Callback, Command, Connection, encode
from service.cache.link import Link
from service.flow.breaker import State, Status
from service.model.errors import CacheUnavailable, Overloaded
from service.observe import tracing
from service.observe.instruments import OTHER, Count
from service.observe.metrics import REDIS_COMMANDS

_SENT = {name: REDIS_COMMANDS.of(name.decode().lower()) for name in (b"GET", b"INFO", b"ZREM")}
_OTHER = REDIS_COMMANDS.of(OTHER)

# Characters of the run id that are enough to distinguish two runs.
_RUN_CHARACTERS = 12
# A write without effect, which a full or read-only Redis refuses.
_WRITE_NOTHING: Command = (b"SETRANGE", b"probe", b"0", b"")


class Script:
    """A Lua script and its SHA-1, by which EVALSHA calls it; ``name`` is for metrics."""

    def __init__(self, source: bytes, name: str = "script") -> None:
        self.source = source
        self.sent = REDIS_COMMANDS.of(name)
        self.sha1 = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Command, args: Command) -> Command:
        """The command that runs the loaded script."""
        return (b"EVALSHA", self.sha1, b"%d" % len(keys), *keys, *args)

    @classmethod
    def load(cls, name: str, metric_name: str = "") -> "Script":
        """The script ``lua/<name>.lua`` of this package; ``metric_name`` if metrics differ."""
        source = (files(__package__) / "lua" / f"{name}.lua").read_bytes()
        return cls(source, metric_name or name)


class RedisPipeline:
    """Owns one connection, which a Link keeps open; belongs to the event loop of ``open``.

    Keys contain ``run_name``, which differs after each start of the server, so that data restored
    from a dump, or of a promoted replica, has names that are never read.

    ``on_connect`` runs on every new connection before anything else, and ``scripts`` are loaded
    there, then ``probe`` is sent; an error in one of them counts as a failed connection.
    ``timeout_s`` is the deadline of each command from the tick in which it is written.
    ``max_in_flight`` bounds unsent and unanswered commands. ``on_state`` gets True and False as the
    connection comes and goes, ``on_breaker`` each new state of the link's breaker, ``on_push`` gets
    RESP3 push messages.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 0.25,
        on_connect: Sequence[Command] = (),
        scripts: Sequence[Script] = (),
        probe: Sequence[Command] = (_WRITE_NOTHING,),
        max_in_flight: int = 10_000,
        on_state: Callable[[bool], None] | None = None,
        on_push: Callable[[list[Any]], None] | None = None,
        on_breaker: Callable[[State], None] = lambda _: None,
    ) -> None:
        loads = ((b"SCRIPT", b"LOAD", script.source) for script in scripts)
        first = (*on_connect, *loads)
        self._link = Link(url, timeout_s, first, probe, self._use, on_push, on_breaker)
        self._max_in_flight = max_in_flight
        self._on_state = on_state
        self._connection: Connection | None = None
        self._encoded: list[bytes] = []
        self._callbacks: list[Callback] = []
        # Calls of scripts that Redis did not know, to be sent again before anything newer.
        self._again: list[tuple[bytes, Callback]] = []
        self._before_write: list[Callable[[], None]] = []
        self._scheduled = False
        self.tick = 0
        self.run_name = b""

    @property
    def available(self) -> bool:
        """Whether there is a connection that has passed its handshake."""
        return self._connection is not None

    @property
    def breaker(self) -> Status:
        """For /readyz and metrics."""
        return self._link.breaker

    @property
    def refusal(self) -> str:
        """The error word of a recent refusal by Redis (OOM, …); "" if there was none."""
        return self._link.refusal

    async def open(self) -> None:
        """Start connecting; returns after the first attempt, whether or not it succeeded."""
        await self._link.open()

    async def close(self) -> None:
        """Drop the connection; unanswered commands fail."""
        await self._link.close()
        self._flush()

    def send(self, command: Command) -> asyncio.Future[Any]:
        """The reply, bytes as Redis sent them. The future may be cancelled: order is kept.

        Raises CacheUnavailable or Overloaded at once, as ``send_callback`` does; the future
        fails with CacheUnavailable for an error reply, a lost connection or a passed deadline.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send_callback(command, partial(_settle, future))
        return future

    def send_callback(self, command: Command, callback: Callback) -> None:
        """Call ``callback`` exactly once, later, with the reply or a CacheUnavailable instance.

        Raises CacheUnavailable while there is no connection and Overloaded when too many
        commands wait; then the callback is never called.
        """
        self._send(_SENT.get(command[0], _OTHER), command, callback)

    def _send(self, sent: Count, command: Command, callback: Callback) -> None:
        connection = self._connection
        if connection is None:
            raise CacheUnavailable("The cache cannot be reached.")
        if connection.in_flight + len(self._callbacks) >= self._max_in_flight:
            raise Overloaded("Too many cache commands are waiting.", retry_after_s=1)
        span = tracing.current()
        if span is not None:
            callback = _ending(span.child("redis", {"db.operation.name": sent.name}), callback)
        self._encoded.append(encode(command))
        self._callbacks.append(callback)
        sent.value += 1
        self._schedule()

    def run(self, script: Script, keys: Command, args: Command, callback: Callback) -> None:
        """Call a script by its hash; raises and calls back as ``send_callback``.

        If Redis does not know the script, the call is repeated with its source, before all unsent
        commands, in the order of the first calls and with a new deadline.
        """
        command = script.call(keys, args)
        whole = (b"EVAL", script.source, *command[2:])
        self._send(script.sent, command, partial(self._unless_forgotten, whole, callback))

    def run_future(self, script: Script, keys: Command, args: Command) -> asyncio.Future[Any]:
        """``run`` for coroutines."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.run(script, keys, args, partial(_settle, future))
        return future

    def before_write(self, prepare: Callable[[], None]) -> None:
        """Call ``prepare`` just before this tick's write; commands it sends are part of that write.

        ``tick`` is the number of the write being collected. It grows when the bytes are sent, so a
        reader may join another's command only while ``tick`` is unchanged.
        """
        self._before_write.append(prepare)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        preparing, self._before_write = self._before_write, []
        try:
            for prepare in preparing:
                prepare()
        finally:
            self._flush()

    def _flush(self) -> None:
        self._scheduled = False
        self.tick += 1
        encoded = [command for command, _ in self._again] + self._encoded
        callbacks = [callback for _, callback in self._again] + self._callbacks
        self._again, self._encoded, self._callbacks = [], [], []
        if not callbacks:
            return
        if self._connection is not None:
            self._connection.write(encoded, callbacks)
            return
        for callback in callbacks:
            callback(CacheUnavailable("The cache cannot be reached."))

    def _unless_forgotten(self, whole: Command, callback: Callback, reply: Any) -> None:
        if isinstance(reply, CacheUnavailable) and reply.redis_error == "NOSCRIPT":
            self._again.append((encode(whole), callback))
            self._schedule()
        else:
            callback(reply)

    def _use(self, connection: Connection | None) -> None:
        self._connection = connection
        if connection is None:
            # Dropped, because the collected commands contain keys of the previous run.
            self._flush()
        else:
            self.run_name = connection.run_id[:_RUN_CHARACTERS] + b":"
        if self._on_state is not None:
            self._on_state(connection is not None)


def _ending(span: tracing.Span, callback: Callback) -> Callback:
    def replied(reply: Any) -> None:
        span.end({}, reply if isinstance(reply, CacheUnavailable) else None)
        callback(reply)

    return replied


def _settle(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, CacheUnavailable):
        future.set_exception(reply)
    else:
        future.set_result(reply)
