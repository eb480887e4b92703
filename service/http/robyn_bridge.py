"""Serves a Robyn application on Granian: Robyn has no RSGI entry (sparckles/Robyn#1193).

The order is that of Robyn's own server: global before-middleware, the path's own, the route's
handler, response headers, global after-middleware, the path's own. Where the bridge differs
on purpose is listed, with reasons, in ``tests/contract/http/test_robyn_bridge.py``.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from service.api.request import Reply, RequestContext
from service.model.errors import HotshelfError, MethodNotAllowed, NoSuchRoute

if TYPE_CHECKING:
    import robyn
    from robyn.robyn import FunctionInfo, HttpMethod


def import_robyn() -> ModuleType:
    """Robyn, imported without letting it read our command line or set up root logging."""
    logging.getLogger("robyn").setLevel(logging.WARNING)
    with _contained():
        import robyn
    return robyn


def new_app() -> "robyn.Robyn":
    """An empty Robyn application that took nothing from argv, ``robyn.env`` or ROBYN_*."""
    module = import_robyn()
    with _contained():
        app: robyn.Robyn = module.Robyn(__file__)
    return app


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Robyn parses sys.argv, configures the root logger and reads ``robyn.env``; undo that.

    It leaves a root logger alone that has a handler, and files and modes to its own command
    line tool when ROBYN_CLI is set.
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
    """Answers requests through a Robyn application's routes and middleware, read once here.

    Handlers find the RequestContext as ``request.session`` and read the body through it:
    ``request.body`` is always empty, since whether to read a body is the handler's to decide.
    A HotshelfError goes through after-middleware as ``on_error``'s answer; any other
    exception is raised to the caller at once.
    """

    def __init__(
        self,
        app: "robyn.Robyn",
        on_error: Callable[[RequestContext, HotshelfError], Reply],
    ) -> None:
        self._robyn = import_robyn()
        self._on_error = on_error
        if app.directories or app.web_socket_router.get_routes() or app.request_headers.keys():
            raise NotImplementedError("directories, web sockets or global request headers")
        routes = app.router.get_routes()
        self._routes = _by_method((r.route_type, r.route, r.function) for r in routes)
        self._literals = frozenset(r.route for r in routes if _is_literal(r.route))
        before, after = (
            self._robyn.MiddlewareType.BEFORE_REQUEST,
            self._robyn.MiddlewareType.AFTER_REQUEST,
        )
        anywhere = app.middleware_router.get_global_middlewares()
        self._before = [_Function.of(m.function) for m in anywhere if m.middleware_type == before]
        self._after = [_Function.of(m.function) for m in anywhere if m.middleware_type == after]
        at_path = app.middleware_router.get_route_middlewares()
        self._before_at, self._after_at = (
            _by_method(
                (m.route_type, m.route, m.function) for m in at_path if m.middleware_type == kind
            )
            for kind in (before, after)
        )
        self._response_headers = app.response_headers.multi_items()

    async def __call__(self, context: RequestContext) -> Reply:
        """The whole answer; raises what a handler or middleware raised, but no HotshelfError."""
        request = self._request(context)
        try:
            response = await self._before_and_handler(request, context)
        except HotshelfError as error:
            response = self.response(self._on_error(context, error))
        for name, value in self._response_headers:
            if not response.headers.contains(name):
                response.headers.append(name, value)
        at_path, _ = _at(self._after_at, context)
        for function in (*self._after, *at_path):
            response = await function(request, response)
            self._check(response)
        return _reply(response)

    def response(self, reply: Reply) -> "robyn.Response":
        """A Reply as what Robyn's handlers return, with headers of its own."""
        headers = self._robyn.Headers({})
        for name, value in reply.headers:
            headers.append(name, value)
        response: robyn.Response = self._robyn.Response(reply.status, headers, reply.body)
        return response

    async def _before_and_handler(
        self, request: "robyn.Request", context: RequestContext
    ) -> "robyn.Response":
        at_path, request.path_params = _at(self._before_at, context)
        for function in (*self._before, *at_path):
            result = await function(request)
            if not isinstance(result, self._robyn.Request):
                return self._own(result)
            request = result
        found = _find(self._routes, context, self._is_literal(context))
        if found is None:
            return self.response(self._unrouted(context))
        function, request.path_params = found
        context.path_params = request.path_params
        return self._own(await function(request))

    def _unrouted(self, context: RequestContext) -> Reply:
        """RFC 9110 sections 9.3.7 (OPTIONS, also of ``*``) and 15.5.6 (405 names what there is)."""
        literally = self._is_literal(context)
        methods = {
            method
            for method, routes in self._routes.items()
            if context.path == "*" or routes.find(context.path, literally) is not None
        }
        if not methods:
            raise NoSuchRoute("There is nothing at this path.")
        allow = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
        if context.method != "OPTIONS":
            raise MethodNotAllowed("The method is not allowed here.", extra={"allow": allow})
        return Reply(204, [("allow", allow)])

    def _is_literal(self, context: RequestContext) -> bool:
        """Whether a route is spelled so: then it is the whole resource, for all methods."""
        return context.path in self._literals

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
        # In the order of Robyn's constructor; form data, files and identity are not ours.
        request: robyn.Request = self._robyn.Request(
            query, headers, {}, "", context.method, url, {}, {}, None, context.peer
        )
        request.session = context
        return request

    def _own(self, result: Any) -> "robyn.Response":
        """What a handler returned as a Response that after-middleware may change.

        Robyn shares one Headers object among all answers of a kind; a copy keeps what is
        added to this answer out of the next.
        """
        if isinstance(result, str):
            return self.response(Reply(200, [("content-type", "text/plain")], result.encode()))
        if isinstance(result, bytes):
            return self.response(Reply(200, [("content-type", "application/octet-stream")], result))
        if isinstance(result, dict | list):
            json = orjson.dumps(result)
            return self.response(Reply(200, [("content-type", "application/json")], json))
        self._check(result)
        return self.response(_reply(result))

    def _check(self, result: Any) -> None:
        if not isinstance(result, self._robyn.Response):
            raise TypeError(f"a handler or middleware returned {type(result).__name__}")


@dataclass(frozen=True, slots=True)
class _Function:
    """A FunctionInfo of Robyn's, taken apart once."""

    call: Callable[..., Any]
    is_async: bool
    parameters: int
    injected: dict[str, Any]

    @classmethod
    def of(cls, info: "FunctionInfo") -> "_Function":
        return cls(info.handler, info.is_async, info.number_of_params, info.kwargs)

    async def __call__(self, *arguments: Any) -> Any:
        """After-middleware may take the response alone, and any function nothing at all."""
        taken = arguments[max(0, len(arguments) - self.parameters) :]
        result = self.call(*taken, **self.injected)
        return await result if self.is_async else result


class _Routes:
    """One method's routes; in each segment a literal wins over ``:name``, that over ``*name``."""

    def __init__(self, routes: list[tuple[str, _Function]]) -> None:
        self._literal = {route: value for route, value in routes if _is_literal(route)}
        patterns = [(route, value) for route, value in routes if not _is_literal(route)]
        patterns.sort(key=lambda entry: _kinds(entry[0]))
        self._patterns = [(_pattern(route), value) for route, value in patterns]

    def find(self, path: str, literally: bool = False) -> tuple[_Function, dict[str, str]] | None:
        """The function at ``path`` and the path's parameters; ``literally``, no pattern counts."""
        if path in self._literal:
            return self._literal[path], {}
        for pattern, value in () if literally else self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return value, match.groupdict()
        return None


def _by_method(
    entries: Iterable[tuple["HttpMethod", str, "FunctionInfo"]],
) -> dict[str, _Routes]:
    routes: dict[str, list[tuple[str, _Function]]] = {}
    for method, route, info in entries:
        name = str(method).rpartition(".")[2]
        routes.setdefault(name, []).append((route, _Function.of(info)))
    return {name: _Routes(of_method) for name, of_method in routes.items()}


def _find(
    routes: dict[str, _Routes], context: RequestContext, literally: bool = False
) -> tuple[_Function, dict[str, str]] | None:
    """HEAD falls back to GET (RFC 9110 section 9.3.2)."""
    for method in ("HEAD", "GET") if context.method == "HEAD" else (context.method,):
        found = routes[method].find(context.path, literally) if method in routes else None
        if found is not None:
            return found
    return None


def _at(
    middleware: dict[str, _Routes], context: RequestContext
) -> tuple[list[_Function], dict[str, str]]:
    found = _find(middleware, context)
    return ([], {}) if found is None else ([found[0]], found[1])


def _is_literal(route: str) -> bool:
    return not _kinds(route).strip("0")


def _kinds(route: str) -> str:
    """One digit a segment, so that sorting puts the more exact route first."""
    return "".join({":": "1", "*": "2"}.get(segment[:1], "0") for segment in route.split("/"))


def _pattern(route: str) -> re.Pattern[str]:
    groups = {":": "(?P<{}>[^/]+)", "*": "(?P<{}>.+)"}
    segments = (
        groups[segment[0]].format(segment[1:]) if segment[:1] in groups else re.escape(segment)
        for segment in route.split("/")
    )
    return re.compile("/".join(segments), re.DOTALL)


def _reply(response: "robyn.Response") -> Reply:
    if response.file_path is not None or not response.cookies.is_empty():
        raise NotImplementedError("files and cookies")
    body = response.description
    headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
    return Reply(response.status_code, headers, body.encode() if isinstance(body, str) else body)
