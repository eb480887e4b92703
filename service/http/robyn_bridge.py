"""Serves what is added to our Robyn application; Robyn has no RSGI entry (sparckles/Robyn#1193).

api/route_table.py selects the route. The order is that of Robyn's own server: global
before-middleware, the path's own, the route's handler, response headers, global after-middleware,
the path's own. ``tests/contract/http/test_robyn_bridge.py`` lists the intended differences with
their reasons.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from service.api.request import Reply, RequestContext
from service.api.route_table import Endpoint, RouteTable
from service.model.errors import HotshelfError

if TYPE_CHECKING:
    import robyn
    from robyn.robyn import FunctionInfo, HttpMethod

Enter = Callable[[RequestContext], Awaitable[None]]


def import_robyn() -> ModuleType:
    """Import Robyn, and keep it from reading our command line and configuring root logging."""
    logging.getLogger("robyn").setLevel(logging.WARNING)
    with _contained():
        import robyn
    return robyn


def new_app() -> "robyn.Robyn":
    """An empty Robyn application that ignores argv, ``robyn.env`` and ROBYN_*."""
    module = import_robyn()
    with _contained():
        app: robyn.Robyn = module.Robyn(__file__)
    return app


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Robyn parses sys.argv, configures the root logger and reads ``robyn.env``; undo that.

    It does not touch a root logger that has a handler, and leaves files and modes to its own
    command line tool when ROBYN_CLI is set.
    """
    argv, cli = sys.argv, os.environ.get("ROBYN_CLI")
    placeholder = logging.NullHandler()
    sys.argv = argv[:1] or ["hotshelf"]
    os.environ["ROBYN_CLI"] = "1"
    logging.root.addHandler(placeholder)
    try:
        yield
    finally:
        sys.argv = argv
        logging.root.removeHandler(placeholder)
        os.environ.pop("ROBYN_CLI")
        if cli is not None:
            os.environ["ROBYN_CLI"] = cli


class RobynBridge:
    """The additions of a Robyn application: handlers as endpoints, middleware around all answers.

    The application is read once, here; later additions have no effect. Handlers find the
    RequestContext as ``request.session`` and read the body through it: ``request.body`` is always
    empty, because the handler decides whether to read a body. A HotshelfError passes through
    after-middleware as ``on_error``'s answer; any other exception is raised at once.
    """

    def __init__(
        self,
        app: "robyn.Robyn",
        on_error: Callable[[RequestContext, HotshelfError], Reply],
    ) -> None:
        self._robyn = import_robyn()
        self._on_error = on_error
        if app.directories or app.web_socket_router.get_routes():
            raise NotImplementedError("directories or web sockets")
        if app.request_headers.keys():
            raise NotImplementedError("global request headers")
        # Method, path and endpoint of every route.
        self.routes: list[tuple[str, str, Endpoint]] = [
            (_name(route.route_type), route.route, self._endpoint(_Function.of(route.function)))
            for route in app.router.get_routes()
        ]
        kinds = self._robyn.MiddlewareType
        anywhere = app.middleware_router.get_global_middlewares()
        at_path = app.middleware_router.get_route_middlewares()
        self._before, self._after = (
            [_Function.of(m.function) for m in anywhere if m.middleware_type == kind]
            for kind in (kinds.BEFORE_REQUEST, kinds.AFTER_REQUEST)
        )
        self._before_at, self._after_at = (
            RouteTable(
                (_name(m.route_type), m.route, _Function.of(m.function))
                for m in at_path
                if m.middleware_type == kind
            )
            for kind in (kinds.BEFORE_REQUEST, kinds.AFTER_REQUEST)
        )
        self._response_headers = app.response_headers.multi_items()
        # Whether answers have to pass through ``around``.
        self.has_middleware = bool(anywhere or at_path or self._response_headers)

    def around(self, enter: Enter, answer: Endpoint) -> Endpoint:
        """``enter`` followed by ``answer``, with the middleware before, between and after them.

        Exceptions of a handler or middleware pass through, except HotshelfError.
        """

        async def run(context: RequestContext) -> Reply:
            request = context.robyn_request = self._request(context)
            try:
                await enter(context)
                response = await self._answer(request, context, answer)
            except HotshelfError as error:
                response = self.response(self._on_error(context, error))
            for name, value in self._response_headers:
                if not response.headers.contains(name):
                    response.headers.append(name, value)
            request = context.robyn_request
            request.path_params = context.path_params
            at_path, _ = _at(self._after_at, context)
            for function in (*self._after, *at_path):
                response = await function(request, response)
                self._check(response)
            return _reply(response)

        return run

    def response(self, reply: Reply) -> "robyn.Response":
        """A Reply as what Robyn's handlers return, with headers of its own."""
        headers = self._robyn.Headers({})
        for name, value in reply.headers:
            headers.append(name, value)
        response: robyn.Response = self._robyn.Response(reply.status, headers, reply.body)
        return response

    async def _answer(
        self, request: "robyn.Request", context: RequestContext, answer: Endpoint
    ) -> "robyn.Response":
        at_path, request.path_params = _at(self._before_at, context)
        for function in (*self._before, *at_path):
            result = await function(request)
            if not isinstance(result, self._robyn.Request):
                return self.response(self._own(result))
            context.robyn_request = request = result
        return self.response(await answer(context))

    def _endpoint(self, handler: "_Function") -> Endpoint:
        async def run(context: RequestContext) -> Reply:
            request = context.robyn_request or self._request(context)
            request.path_params = context.path_params
            return self._own(await handler(request))

        return run

    def _request(self, context: RequestContext) -> "robyn.Request":
        headers = self._robyn.Headers({})
        for name, values in context.headers.items():
            for value in values:
                headers.append(name, value)
        query = self._robyn.robyn.QueryParams()
        for pair in context.query_string.split("&") if context.query_string else ():
            name, _, value = pair.partition("=")
            query.set(name, value)
        url = self._robyn.robyn.Url(context.scheme, "".join(context.headers["host"]), context.path)
        # In the order of Robyn's constructor; form data, files and identity are not supported.
        request: robyn.Request = self._robyn.Request(
            query, headers, {}, "", context.method, url, {}, {}, None, context.peer
        )
        request.session = context
        return request

    def _own(self, result: Any) -> Reply:
        """The Reply for what a handler or before-middleware returned, of the types that Robyn
        accepts.

        Robyn shares one Headers object among all answers of a type; a Reply has a copy, so that
        fields added to one answer do not appear in the next.
        """
        if isinstance(result, str):
            return Reply(200, [("content-type", "text/plain")], result.encode())
        if isinstance(result, bytes):
            return Reply(200, [("content-type", "application/octet-stream")], result)
        if isinstance(result, dict | list):
            return Reply(200, [("content-type", "application/json")], orjson.dumps(result))
        self._check(result)
        return _reply(result)

    def _check(self, result: Any) -> None:
        if not isinstance(result, self._robyn.Response):
            raise TypeError(f"a handler or middleware returned {type(result).__name__}")


@dataclass(frozen=True, slots=True)
class _Function:
    """A FunctionInfo of Robyn's, unpacked once."""

    call: Callable[..., Any]
    is_async: bool
    parameters: int
    injected: dict[str, Any]

    @classmethod
    def of(cls, info: "FunctionInfo") -> "_Function":
        return cls(info.handler, info.is_async, info.number_of_params, info.kwargs)

    async def __call__(self, *arguments: Any) -> Any:
        """After-middleware may take only the response, and any function no argument."""
        taken = arguments[max(0, len(arguments) - self.parameters) :]
        result = self.call(*taken, **self.injected)
        return await result if self.is_async else result


def _at(
    middleware: RouteTable[_Function], context: RequestContext
) -> tuple[list[_Function], dict[str, str]]:
    found = middleware.find(context.method, context.path)
    return ([], {}) if found is None else ([found[0]], found[1])


def _name(method: "HttpMethod") -> str:
    return str(method).rpartition(".")[2]


def _reply(response: "robyn.Response") -> Reply:
    if response.file_path is not None or not response.cookies.is_empty():
        raise NotImplementedError("files and cookies")
    body = response.description
    headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
    return Reply(response.status_code, headers, body.encode() if isinstance(body, str) else body)
