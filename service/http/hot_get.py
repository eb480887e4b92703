"""GET of one item without a coroutine: from Granian's scope to its answer in plain functions.

Granian awaits what an application returns. Here that is a completed future where the answer was
at hand, else a pending one that the reply of Redis completes once the answer is sent.
"""

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from secrets import token_hex
from typing import Final, TypeAlias

from service.access.rate import Admission
from service.api.get_item import Answer, Slow, Tell
from service.api.request import Reply
from service.http.granian_objects import Exchange, Scope

# The canonical spelling; others go the other way.
_PREFIX: Final = "/v1/items/"
_LENGTH: Final = len(_PREFIX) + 26
# Whatever needs more than the hot path looks at.
_OTHERWISE: Final = frozenset(
    {
        "content-length",
        "expect",
        "if-match",
        "origin",
        "prefer",
        "traceparent",
        "transfer-encoding",
        "x-request-id",
    }
)
_MAX_FIELDS = 99

Ask: TypeAlias = Callable[
    [Mapping[str, str], str, Tell], tuple[Answer, Admission | None] | Slow | None
]


class HotGet:
    """One worker's hot path; belongs to its event loop.

    ``send_error`` answers with an error, which needs more of the request than is looked at here.
    """

    def __init__(
        self,
        ask: Ask,
        draining: Callable[[], bool],
        send_error: Callable[[Scope, Exchange, Exception, Admission | None], None],
    ) -> None:
        self._ask = ask
        self.draining = draining
        self.send_error = send_error
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._done.set_result(None)
        # Unique by worker; two requests of one worker never have the same.
        self._id_prefix = token_hex(10)
        self._numbers = count(1)

    def __call__(self, scope: Scope, exchange: Exchange) -> asyncio.Future[None] | None:
        """What Granian is to await; None where the request has to go the other way."""
        path = scope.path
        if len(path) != _LENGTH or not path.startswith(_PREFIX) or scope.query_string:
            return None
        headers = scope.headers
        items = headers.items()
        fields = dict(items)
        # A field that is sent twice, or whose value is not ASCII, shows in the counts.
        plain = len(fields) == len(items) == len(headers.keys()) <= _MAX_FIELDS
        if not plain or "host" not in fields or not _OTHERWISE.isdisjoint(fields):
            return None
        pending = _Pending(self, scope, exchange)
        answer = self._ask(fields, path[-26:], pending.tell)
        if answer is None:
            pending.future = self._loop.create_future()
            return pending.future
        if isinstance(answer, Slow):
            return None
        pending.send(*answer)
        return self._done

    def new_id(self) -> str:
        """A request id."""
        return f"{self._id_prefix}{next(self._numbers):012x}"


class _Pending:
    """One request that waits for its answer, or is about to get it."""

    __slots__ = ("_exchange", "_hot_get", "_scope", "future")

    def __init__(self, hot_get: HotGet, scope: Scope, exchange: Exchange) -> None:
        self._hot_get = hot_get
        self._scope = scope
        self._exchange = exchange
        self.future: asyncio.Future[None] | None = None

    def tell(self, answer: Answer, admission: Admission | None) -> None:
        """Send the answer and let Granian's task go; the loop may have dropped it meanwhile."""
        try:
            self.send(answer, admission)
        finally:
            if self.future is not None and not self.future.done():
                self.future.set_result(None)

    def send(self, answer: Answer, admission: Admission | None) -> None:
        hot_get = self._hot_get
        if not isinstance(answer, Reply):
            hot_get.send_error(self._scope, self._exchange, answer, admission)
            return
        status, headers, body = answer
        headers = [*headers, ("x-request-id", hot_get.new_id())]
        if admission is not None:
            headers += admission.fields()
        if hot_get.draining():
            headers.append(("connection", "close"))
        if body:
            self._exchange.response_bytes(status, headers, body)
        else:
            self._exchange.response_empty(status, headers)
