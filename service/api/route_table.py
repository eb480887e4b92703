"""Matches method and path to an endpoint by the rules of HTTP; it has no routes itself."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from service.api.request import Reply, RequestContext
from service.model.errors import MethodNotAllowed, NoSuchRoute

V = TypeVar("V")
Endpoint = Callable[[RequestContext], Awaitable[Reply]]


class RouteTable(Generic[V]):
    """Values by method and path. A segment ``:name`` of a path is a parameter, ``*name`` the rest.

    In each segment a literal wins over ``:name``, and that over ``*name``. A path without
    parameters is a resource of its own: methods that it lacks are not searched among the patterns.
    """

    def __init__(self, entries: Iterable[tuple[str, str, V]]) -> None:
        """Raises ValueError for a repeated method and path."""
        by_path: dict[str, dict[str, V]] = {}
        for method, path, value in entries:
            if by_path.setdefault(path, {}).setdefault(method, value) is not value:
                raise ValueError(f"{method} {path} is routed twice")
        patterns = sorted((path for path in by_path if _kinds(path).strip("0")), key=_kinds)
        self._patterns = [(_pattern(path), by_path.pop(path)) for path in patterns]
        self._literals = by_path

    def find(self, method: str, path: str) -> tuple[V, dict[str, str]] | None:
        """The value and the path's parameters; HEAD falls back to GET (RFC 9110 section 9.3.2)."""
        found = self._find(method, path)
        return self._find("GET", path) if found is None and method == "HEAD" else found

    def methods(self, path: str) -> set[str]:
        """The methods of the path, or of any path for ``*``."""
        if path == "*":
            offered = [*self._literals.values(), *(values for _, values in self._patterns)]
        elif path in self._literals:
            offered = [self._literals[path]]
        else:
            offered = [values for pattern, values in self._patterns if pattern.fullmatch(path)]
        return {method for values in offered for method in values}

    def _find(self, method: str, path: str) -> tuple[V, dict[str, str]] | None:
        literal = self._literals.get(path)
        if literal is not None:
            return (literal[method], {}) if method in literal else None
        for pattern, values in self._patterns:
            if method in values and (match := pattern.fullmatch(path)) is not None:
                return values[method], match.groupdict()
        return None


class RoutedEndpoints(RouteTable[Endpoint]):
    """A route table of endpoints, itself an endpoint.

    ``instead`` tells what to look up for a path that is not in it.
    """

    def __init__(
        self,
        entries: Iterable[tuple[str, str, Endpoint]],
        instead: Callable[[RequestContext], str] = lambda context: context.path,
    ) -> None:
        super().__init__(entries)
        self._instead = instead

    async def __call__(self, context: RequestContext) -> Reply:
        """Sets ``context.path_params``.

        Raises NoSuchRoute, MethodNotAllowed, and what ``instead`` raises.
        """
        path = context.path
        found = self.find(context.method, path)
        if found is None and not self.methods(path):
            path = self._instead(context)
            found = self.find(context.method, path)
        if found is None:
            return self._unrouted(context, path)
        endpoint, context.path_params = found
        return await endpoint(context)

    def _unrouted(self, context: RequestContext, path: str) -> Reply:
        """RFC 9110 sections 9.3.7 (OPTIONS, also of ``*``) and 15.5.6 (405 has Allow)."""
        # CONNECT names a host instead of a path (section 9.3.6), so any path has its 405.
        methods = self.methods("*" if context.method == "CONNECT" else path)
        if not methods:
            raise NoSuchRoute("There is nothing at this path.")
        allow = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
        if context.method != "OPTIONS":
            raise MethodNotAllowed("The method is not allowed here.", extra={"allow": allow})
        return Reply(204, [("allow", allow)])


def _kinds(path: str) -> str:
    """A sort key with one digit per segment, which puts more specific paths first."""
    return "".join({":": "1", "*": "2"}.get(segment[:1], "0") for segment in path.split("/"))


def _pattern(path: str) -> re.Pattern[str]:
    groups = {":": "(?P<{}>[^/]+)", "*": "(?P<{}>.+)"}
    segments = (
        groups[segment[0]].format(segment[1:]) if segment[:1] in groups else re.escape(segment)
        for segment in path.split("/")
    )
    return re.compile("/".join(segments), re.DOTALL)
