"""One HTTP request and its reply, as plain data between http/ (bytes) and api/ (semantics).

Also the parts of Granian's objects that are used (RSGI 1.6).
"""

import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from service.model.caller import Caller
from service.model.collection import ITEMS_BY_DEFAULT, Collection
from service.model.rate import Admission
from service.observe.trace_context import TraceContext

# Larger bodies count against the budget until their clients have read them (http/sending.py).
LARGE_BYTES: Final = 64 << 10


class Reply(NamedTuple):
    """A whole answer. Header names are lower case; ``body`` is sent unchanged."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


@dataclass(slots=True)
class RequestContext:
    """A request, checked only by the rules of HTTP itself (RFC 9110, RFC 9112).

    ``path`` is percent-decoded, ``query_string`` is raw. ``headers`` maps lower-case names to
    every field line's value in order; all are ASCII. ``peer`` is the connection's address
    without port. ``read_body`` reads, caps and decompresses the body, at most once; it takes a
    lower cap in bytes than the setting, and raises Overloaded, BodyTooLarge, BodyTimeout,
    IncompleteBody, InvalidSyntax or UnsupportedMediaType.
    ``began_s`` is ``time.perf_counter``'s, ``source`` what answered a read of one item
    (observe/requests.py), ``route`` the route's template, known once it is answered. ``caller``
    is None until the credentials were checked, ``admission`` until the request was counted
    against a limit, and ``address`` is that of a client without credentials, also behind trusted
    proxies; ``spent_s`` is the time spent by part. ``trace`` is the caller's, or ours if the
    request is sampled. ``names_itself``: the answer has ``request_id``, as errors always do.
    ``collection`` is the one that the path is of, once it is routed.
    ``robyn_request`` is the request that a Robyn application's middleware got, for its handlers.
    """

    method: str
    scheme: str
    path: str
    query_string: str
    headers: Mapping[str, list[str]]
    peer: str
    request_id: str
    read_body: Callable[..., Awaitable[bytes]]
    caller: Caller | None = None
    path_params: Mapping[str, str] = field(default_factory=dict)
    admission: Admission | None = None
    address: str = ""
    trace: TraceContext | None = None
    robyn_request: Any = None
    source: str = ""
    spent_s: dict[str, float] = field(default_factory=dict)
    route: str = ""
    names_itself: bool = False
    began_s: float = field(default_factory=time.perf_counter)
    collection: Collection = ITEMS_BY_DEFAULT

    @property
    def subject(self) -> str:
        """Who asks; empty for nobody."""
        return "" if self.caller is None else self.caller.subject


class Admitted(NamedTuple):
    """Caller and admission of a request that was counted before it took the general path."""

    caller: Caller
    admission: Admission


class Headers(Protocol):
    """Granian's header section; ``items`` omits values that are not ASCII.

    Its length counts all names, even those of omitted values. An omitted line is undetectable if
    its name has other lines.
    """

    def __len__(self) -> int: ...
    def keys(self) -> list[str]: ...
    def items(self) -> list[tuple[str, str]]: ...


class Scope(Protocol):
    """The part of Granian's scope that is used."""

    client: str
    http_version: str
    scheme: str
    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> Headers: ...


class Stream(Protocol):
    """An answer's body, sent in pieces, which Granian buffers without bound."""

    def send_bytes(self, data: bytes) -> Awaitable[None]:
        """Raises ProtocolClosed once the body is complete, or the connection has ended."""
        ...


class Exchange(AsyncIterable[bytes], Protocol):
    """Granian's protocol object: source of the body, destination of the answer."""

    def __call__(self) -> Awaitable[bytes]: ...
    def client_disconnect(self) -> Awaitable[None]: ...
    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Stream: ...


class GeneralPath(Protocol):
    """The destination of requests that the hot path does not answer (http/rsgi.py)."""

    def answer(
        self, scope: Scope, exchange: Exchange, admitted: Admitted | None
    ) -> Awaitable[None]: ...
    def send_error(
        self,
        scope: Scope,
        exchange: Exchange,
        error: Exception,
        admission: Admission | None,
        began_s: float | None = None,
    ) -> None: ...
    def send_large(
        self, scope: Scope, exchange: Exchange, reply: Reply, holder: str, admission: Admission
    ) -> None: ...


# Answers a GET, and returns the awaitable for Granian.
HotGet: TypeAlias = Callable[[Scope, Exchange, GeneralPath], Awaitable[None]]
