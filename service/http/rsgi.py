"""Takes requests from Granian (RSGI 1.6) and sends the answers; it has no rules of the service.

One worker process serves one ``Application``: it opens and closes on the worker's own event
loop, makes a RequestContext of each request, refuses what HTTP itself forbids, and hands on.
"""

import asyncio
import gc
import multiprocessing
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

from service.api.request import (
    Admitted,
    Exchange,
    HotGet,
    Reply,
    RequestContext,
    Scope,
)
from service.flow.byte_budget import Budgets, Lease
from service.flow.deadline import TimeLimit
from service.http.body import Body
from service.http.client_watch import CLIENT_LEFT, ClientWatch
from service.http.connections import limit_unread
from service.http.request_rules import check_headers, check_path, is_clearly_framed
from service.http.sending import Sending, address_of
from service.http.traced import begun, ended
from service.model.errors import (
    HotshelfError,
    InternalError,
)
from service.model.rate import Admission
from service.model.resource import Resource
from service.observe.events import request_failed, unread_answers_unbounded
from service.observe.request_ids import request_ids
from service.observe.trace_context import TraceContext, continued
from service.observe.tracing import Traces, traces
from service.process.parent_death import STOP_SIGNALS, die_with_parent
from service.settings import Memory

Answer = Callable[[RequestContext], Awaitable[Reply]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")
_BODILESS = frozenset({204, 304})
# The garbage collector's threshold of generation 0, whose default is 700.
_GARBAGE_MIN = 20_000
# Pause between two searches for the listening socket.
_LISTENS_S = 0.1


@dataclass(frozen=True, slots=True)
class Worker:
    """The parts by which a worker process answers; built and closed on its event loop.

    ``answer`` may raise HotshelfError, which ``on_error`` turns into the answer. ``hot_get`` gets
    all GETs first (``GetItem.hot``); None: there is no hot path. ``on_reply`` post-processes every
    answer except those that ``hot_get`` sends itself. ``draining`` is called for every answer.
    """

    answer: Answer
    on_error: Callable[[RequestContext | None, HotshelfError], Reply]
    draining: Callable[[], bool]
    close: Callable[[], Awaitable[None]]
    body_max_bytes: int = 1 << 20
    batch_max_bytes: int = 16 << 20
    body_timeout_s: float = 20.0
    hot_get: HotGet | None = None
    on_reply: Callable[[RequestContext, Reply], Reply] = lambda _, reply: reply
    budgets: Budgets = field(default_factory=lambda: Budgets.of(Memory()))
    send_timeout_s: float = 30.0


class Application:
    """The object Granian loads; ``open_worker`` runs once per worker process, on its loop."""

    def __init__(self, open_worker: Callable[[], Awaitable[Worker]]) -> None:
        self._open_worker = open_worker
        self._worker: Worker | None = None
        self._hot_get: HotGet | None = None
        self._traces: Traces | None = None
        self._new_id: Callable[[], str] = _closed
        self._body_limit: TimeLimit
        self._clients: ClientWatch
        self._sending: Sending

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by Granian before the worker listens; the loop is not running yet."""
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None:
            # Because without Granian's parent process nothing would stop this worker.
            die_with_parent(parent.pid, signal.SIGKILL)
        loop.run_until_complete(self.open())
        _limit_unread(loop, self._sending.timeout_s)
        _spare_collector()
        # uvloop loses a signal that arrives while the loop is not running, so our loader blocks
        # them until Granian has started the loop.
        loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, STOP_SIGNALS)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by Granian after the last answer; the loop has stopped."""
        loop.run_until_complete(self.close())

    async def open(self) -> None:
        # After the fork, because the ids of two workers must differ.
        self._new_id = request_ids()
        worker = self._worker = await self._open_worker()
        self._body_limit = TimeLimit(worker.body_timeout_s)
        self._clients = ClientWatch()
        self._sending = Sending(worker.budgets.answers, worker.send_timeout_s)
        self._hot_get = worker.hot_get
        self._traces = traces()

    async def close(self) -> None:
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await worker.close()

    def __rsgi__(self, scope: Scope, exchange: Exchange) -> Awaitable[None]:
        """Answer one request. Never raises, because Granian would answer by itself."""
        if self._traces is not None and self._traces.samples_new():
            return self.answer(scope, exchange, None, sampled=True)
        if self._hot_get is not None and scope.method == "GET":
            try:
                return self._hot_get(scope, exchange, self)
            except Exception as error:
                return self._fail(scope, exchange, error)
        return self.answer(scope, exchange, None)

    async def answer(
        self, scope: Scope, exchange: Exchange, admitted: Admitted | None, *, sampled: bool = False
    ) -> None:
        """The general path: all requests that the hot path does not answer.

        ``sampled``: the request is traced if it has no traceparent.
        """
        worker = self._worker
        assert worker is not None
        budgets, is_batch = worker.budgets, scope.path.endswith(Resource.BATCH)
        with (budgets.batches if is_batch else budgets.bodies).lease() as lease:
            context, body = self._context(worker, scope, exchange, lease)
            if admitted is not None:
                context.caller, context.admission = admitted
            span = begun(context, sampled=sampled)
            reply = Reply(CLIENT_LEFT, [])
            with self._clients.over(exchange) as client:
                try:
                    reply = await _answer(worker, scope, context)
                except Exception as error:
                    reply = _error_reply(worker, context, error)
            reply = worker.on_reply(context, reply)
            if not client.left:
                self._send(scope, exchange, context, reply)
        if span is not None:
            ended(span, context, reply)
        if body.is_unread and is_clearly_framed(context) and not client.left:
            await body.drop()

    async def _fail(self, scope: Scope, exchange: Exchange, error: Exception) -> None:
        self.send_error(scope, exchange, error, None)

    def send_error(
        self,
        scope: Scope,
        exchange: Exchange,
        error: Exception,
        admission: Admission | None,
        began_s: float | None = None,
    ) -> None:
        """Answer with an error; ``admission`` if the request has been counted against a limit."""
        worker = self._worker
        assert worker is not None
        context, _ = self._context(worker, scope, exchange)
        context.admission = admission
        if began_s is not None:
            context.began_s = began_s
        reply = worker.on_reply(context, _error_reply(worker, context, error))
        self._send(scope, exchange, context, reply)

    def send_large(
        self, scope: Scope, exchange: Exchange, reply: Reply, holder: str, admission: Admission
    ) -> None:
        """Send a large answer of the hot path, or an error if too many bytes of ``holder`` wait."""
        try:
            self._sending.send(exchange, scope.client, holder, reply)
        except HotshelfError as error:
            self.send_error(scope, exchange, error, admission)

    def _send(
        self, scope: Scope, exchange: Exchange, context: RequestContext, reply: Reply
    ) -> None:
        worker = self._worker
        assert worker is not None
        headers = list(reply.headers)
        if context.names_itself or not (200 <= reply.status < 300 or reply.status == 304):
            headers.append(("x-request-id", context.request_id))
        if context.trace is not None:
            headers.append(("traceparent", context.trace.traceparent))
        if worker.draining() or not is_clearly_framed(context):
            headers.append(("connection", "close"))
        if reply.status in _BODILESS:
            exchange.response_empty(reply.status, headers)
        elif context.method == "HEAD":
            headers.append(("content-length", str(len(reply.body))))
            exchange.response_empty(reply.status, headers)
        else:
            unknown = context.address or context.peer
            holder = unknown if context.caller is None else context.caller.account
            whole = Reply(reply.status, headers, reply.body)
            try:
                self._sending.send(exchange, scope.client, holder, whole)
            except HotshelfError as error:
                refused = worker.on_reply(context, _error_reply(worker, context, error))
                self._send(scope, exchange, context, refused)

    def _context(
        self, worker: Worker, scope: Scope, exchange: Exchange, lease: Lease | None = None
    ) -> tuple[RequestContext, Body]:
        headers: dict[str, list[str]] = {}
        for name, value in scope.headers.items():
            headers.setdefault(name, []).append(value)
        sent_id = _sent_id(headers.get("x-request-id"))
        is_batch = scope.path.endswith(Resource.BATCH)
        max_bytes = worker.batch_max_bytes if is_batch else worker.body_max_bytes
        body = Body(headers, exchange, max_bytes, self._body_limit, lease)
        context = RequestContext(
            method=scope.method,
            scheme=scope.scheme,
            path=scope.path,
            query_string=scope.query_string,
            headers=headers,
            peer=address_of(scope.client),
            request_id=sent_id or self._new_id(),
            names_itself=sent_id is not None,
            trace=_trace(headers.get("traceparent")),
            read_body=body.read,
        )
        return context, body


def _limit_unread(loop: asyncio.AbstractEventLoop, seconds: float, attempts: int = 100) -> None:
    """Retries until Granian listens, because that happens only once this worker's loop runs."""
    if not limit_unread(seconds):
        if not attempts:
            unread_answers_unbounded()
            return
        loop.call_later(_LISTENS_S, _limit_unread, loop, seconds, attempts - 1)


def _spare_collector() -> None:
    """Freeze the objects made at start, because traversing them again would stall all requests.

    Reference counting frees nearly all objects of a request, so collections can be rarer, too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_MIN)


def _error_reply(worker: Worker, context: RequestContext, error: Exception) -> Reply:
    if not isinstance(error, HotshelfError):
        trace_id = "" if context.trace is None else context.trace.trace_id
        request_failed(context.request_id, trace_id, error)
        error = InternalError("Something went wrong; the request id helps to find it.")
    return worker.on_error(context, error)


async def _answer(worker: Worker, scope: Scope, context: RequestContext) -> Reply:
    check_headers(scope, context)
    check_path(context.path)
    return await worker.answer(context)


def _trace(sent: list[str] | None) -> TraceContext | None:
    return continued(sent[0]) if sent is not None and len(sent) == 1 else None


def _sent_id(sent: list[str] | None) -> str | None:
    valid = sent is not None and len(sent) == 1 and _REQUEST_ID.fullmatch(sent[0])
    return sent[0] if sent is not None and valid else None


def _closed() -> NoReturn:
    raise RuntimeError("the application is not open")
