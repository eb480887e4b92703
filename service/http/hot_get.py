"""GET of one item without a coroutine: from Granian's scope to its answer in plain functions.

Granian awaits what an application returns. Here that is a completed future where the answer was
at hand, else a pending one that the reply of Redis completes once the answer is sent.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Final, Protocol

from service.api.get_item import Answer, Slow, Tell, Terms
from service.api.request import Reply
from service.http.granian_objects import Exchange, Scope
from service.http.request_ids import request_ids
from service.model.rate import Admission
from service.model.resource import ITEMS
from service.observe.metrics import SENT_BYTES
from service.observe.requests import of_route

# The canonical spelling; others go the other way.
_PREFIX: Final = f"{ITEMS.path(1)}/"
_LENGTH: Final = len(_PREFIX) + 26
_ROUTE: Final = _PREFIX + "{id}"
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

# Of header sections that requests share; each is kept up to this length.
_MAX_SECTIONS, _MAX_SECTION_CHARACTERS = 2048, 4096


class HotItem(Protocol):
    """GetItem (api/get_item.py), as far as it is plain functions."""

    def terms(self, fields: Mapping[str, str]) -> Terms | None: ...
    def at_once(self, terms: Terms, id_text: str) -> tuple[Reply, Admission] | None: ...
    def ask(
        self, terms: Terms, id_text: str, tell: Tell
    ) -> tuple[Answer, Admission | None] | Slow | None: ...


class HotGet:
    """One worker's hot path; belongs to its event loop.

    ``send_error`` answers with an error, which needs more of the request than is looked at here.
    """

    def __init__(
        self,
        item: HotItem,
        draining: Callable[[], bool],
        send_error: Callable[[Scope, Exchange, Exception, Admission | None], None],
    ) -> None:
        self._near = of_route("GET", _ROUTE, "near")
        self._others = of_route("GET", _ROUTE, "")
        self._sent = SENT_BYTES.of()
        self._item = item
        self._at_once = item.at_once
        self._terms: dict[tuple[tuple[str, str], ...], Terms] = {}
        self._draining = draining
        self.send_error = send_error
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._done.set_result(None)
        self._new_id = request_ids()

    def __call__(self, scope: Scope, exchange: Exchange) -> asyncio.Future[None] | None:
        """What Granian is to await; None where the request has to go the other way."""
        began = perf_counter()
        path = scope.path
        if len(path) != _LENGTH or not path.startswith(_PREFIX) or scope.query_string:
            return None
        headers = scope.headers
        section = tuple(headers.items())
        terms = self._terms.get(section) or self._learn(section)
        # A field whose value is not ASCII is missing among the items.
        if terms is None or len(headers) != len(section):
            return None
        at_once = self._at_once(terms, path[-26:])
        if at_once is not None:
            self.send(exchange, *at_once)
            self._near[at_once[0][0] // 100].observe(perf_counter() - began)
            return self._done
        pending = _Pending(self, scope, exchange, began)
        answer = self._item.ask(terms, path[-26:], pending.tell)
        if answer is None:
            pending.future = self._loop.create_future()
            return pending.future
        if isinstance(answer, Slow):
            return None
        pending.send(*answer)
        return self._done

    def send(self, exchange: Exchange, reply: Reply, admission: Admission | None) -> None:
        """Send the reply with what only this request's has."""
        status, headers, body = reply
        self._sent.value += len(body)
        headers = [*headers, ("x-request-id", self._new_id())]
        if admission is not None:
            headers += admission.fields()
        if self._draining():
            headers.append(("connection", "close"))
        if body:
            exchange.response_bytes(status, headers, body)
        else:
            exchange.response_empty(status, headers)

    def observe(self, status: int, began: float) -> None:
        """An answer that was not at hand was sent."""
        self._others[status // 100].observe(perf_counter() - began)

    def _learn(self, section: tuple[tuple[str, str], ...]) -> Terms | None:
        """What these fields say; kept where other requests are likely to bring the same."""
        fields = dict(section)
        plain = len(fields) == len(section) <= _MAX_FIELDS
        if not plain or "host" not in fields or not _OTHERWISE.isdisjoint(fields):
            return None
        terms = self._item.terms(fields)
        size = sum(len(name) + len(value) for name, value in section)
        if terms is not None and "if-none-match" not in fields and size <= _MAX_SECTION_CHARACTERS:
            if len(self._terms) >= _MAX_SECTIONS:
                self._terms.clear()
            self._terms[section] = terms
        return terms


class _Pending:
    """One request that waits for its answer, or is about to get it."""

    __slots__ = ("_began", "_exchange", "_hot_get", "_scope", "future")

    def __init__(self, hot_get: HotGet, scope: Scope, exchange: Exchange, began: float) -> None:
        self._began = began
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
        hot_get.send(self._exchange, answer, admission)
        hot_get.observe(answer.status, self._began)
