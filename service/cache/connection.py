"""One connection to one Redis: replies are matched to commands by their order alone.

A write has one callback per command; each is called exactly once, with the reply or a
CacheUnavailable. A missed deadline ends the connection, because otherwise a late reply could be
taken for the reply to a newer command.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from hiredis import ProtocolError, PushNotification, Reader, ReplyError, pack_command

from service.model.errors import CacheUnavailable
from service.observe.metrics import REDIS_SECONDS

Command = tuple[bytes, ...]
Callback = Callable[[Any], None]
# hiredis declares a tuple of one; it takes any number.
encode = cast(Callable[[Command], bytes], pack_command)

_REPLY = REDIS_SECONDS.of()
# A marker of its own, because False and None are valid replies in RESP3.
_INCOMPLETE = object()
# uvloop runs timers before it reads sockets, so after a stall of our own process the replies may
# already have arrived: a deadline is checked again after the sockets were read.
_LAST_LOOK_S = 0.002
# The only error that is not a refusal, because the pipeline then sends the script's source.
_UNKNOWN_SCRIPT = "NOSCRIPT"
# A key of a foreign type counts as absent; our scripts replace it.
_FOREIGN_TYPE = "WRONGTYPE"
# Redis 6 reports an error inside a script as "ERR Error running script …: -OOM command …".
_ERROR_WORD = re.compile(r"(?:^|[ :]-)([A-Z]+)\b")


def failure(reply: ReplyError) -> CacheUnavailable:
    """An error reply as a CacheUnavailable, with its first word, and the reply as the cause."""
    error = CacheUnavailable("The cache answered with an error.")
    words = _ERROR_WORD.findall(str(reply))
    error.redis_error = words[-1] if words else "ERR"
    error.__cause__ = reply
    return error


class Connection(asyncio.Protocol):
    """``timeout_s`` runs from each ``write``. ``on_lost`` is called once, before the waiting
    callbacks fail; then ``ended_by`` is the error reply that ended the connection, if any.
    ``on_push`` receives RESP3 push messages as lists. ``on_answered`` gets, once per socket read
    that completes writes, the duration of the oldest of these writes.

    ``run_id`` is the server's, new at each of its starts; ``connect`` sets it. Once the connection
    is ``in_use``, any error reply ends it, because a Redis that refuses one command may refuse the
    next invalidation and then return outdated entries.
    """

    def __init__(
        self,
        timeout_s: float,
        on_lost: Callable[["Connection"], None],
        on_push: Callable[[list[Any]], None] | None = None,
        on_answered: Callable[[float], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._on_push = on_push
        self._on_answered = on_answered
        self._reader = Reader(notEnoughData=_INCOMPLETE)
        self._transport: asyncio.Transport | None = None
        self.lost = False
        self.in_use = False
        self.run_id = b""
        self.ended_by: CacheUnavailable | None = None
        self._waiting: deque[Callback] = deque()
        self._written = 0
        self._answered = 0
        # (number of the last command, its deadline) of each unanswered write
        self._deadlines: deque[tuple[int, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Commands that are written but not answered."""
        return len(self._waiting)

    def write(self, encoded: list[bytes], callbacks: list[Callback]) -> None:
        """Send encoded commands in one write, with one of ``callbacks`` each, in order."""
        assert self._transport is not None
        self._waiting.extend(callbacks)
        self._written += len(callbacks)
        deadline = self._loop.time() + self._timeout_s
        self._deadlines.append((self._written, deadline))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._check_deadline)
        self._transport.write(b"".join(encoded))

    def abort(self, detail: str) -> None:
        """End the connection now; all waiting callbacks fail with ``detail``."""
        if self.lost:
            return
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._on_lost(self)
        waiting, self._waiting = self._waiting, deque()
        for callback in waiting:
            self._give(callback, CacheUnavailable(detail))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.abort("The cache closed the connection.")

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while not self.lost and (reply := reader.gets()) is not _INCOMPLETE:
                self._take(reply)
        except ProtocolError:
            self.abort("The cache sent invalid RESP.")
        deadlines = self._deadlines
        if deadlines and deadlines[0][0] <= self._answered:
            took_s = self._loop.time() - deadlines.popleft()[1] + self._timeout_s
            self._forget_answered()
            _REPLY.observe(took_s)
            if self._on_answered is not None and not self.lost:
                self._on_answered(took_s)

    def _forget_answered(self) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._answered:
            self._deadlines.popleft()

    def _take(self, reply: Any) -> None:
        kind = type(reply)
        if kind is PushNotification:
            if self._on_push is not None:
                self._give(self._on_push, reply)
            return
        if not self._waiting:
            self.abort("The cache sent an unexpected reply.")
            return
        callback = self._waiting.popleft()
        self._answered += 1
        if kind is ReplyError:
            self._refused(callback, failure(reply))
        else:
            self._give(callback, reply)

    def _refused(self, callback: Callback, error: CacheUnavailable) -> None:
        word = error.redis_error
        self._give(callback, None if word == _FOREIGN_TYPE else error)
        if self.in_use and word not in (_UNKNOWN_SCRIPT, _FOREIGN_TYPE):
            self.ended_by = error
            self.abort(f"The cache refused a command: {word}.")

    def _give(self, callback: Callback, reply: Any) -> None:
        try:
            callback(reply)
        except Exception as error:
            # Caught, because a faulty callback must not prevent those after it.
            self._loop.call_exception_handler(
                {"message": "a callback of a Redis reply failed", "exception": error}
            )

    def _check_deadline(self, looked_at: int = 0) -> None:
        self._forget_answered()
        if not self._deadlines:
            self._timer = None
            return
        last, deadline = self._deadlines[0]
        if self._loop.time() < deadline:
            self._timer = self._loop.call_at(deadline, self._check_deadline)
        elif looked_at != last:
            self._timer = self._loop.call_later(_LAST_LOOK_S, self._check_deadline, last)
        else:
            self.abort("The cache did not answer in time.")
