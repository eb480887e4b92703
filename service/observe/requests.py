"""Durations of requests, under a bounded set of labels whatever clients send."""

import re
from collections.abc import Iterable

from service.observe.instruments import OTHER, Distribution
from service.observe.metrics import REQUEST_SECONDS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What answered a read of one item.
SOURCES = ("near", "redis", "replica", "primary")


class RequestTimes:
    """One worker's durations. ``paths`` are the routes', with parameters as ``:name``."""

    def __init__(self, paths: Iterable[str]) -> None:
        templates = dict.fromkeys(map(_template, paths))
        self._fixed = {path for path in templates if "{" not in path}
        self._templates = [path for path in templates if "{" in path]
        self._pattern = re.compile("|".join(f"({_pattern(path)})" for path in self._templates))

    def observe(
        self,
        method: str,
        route: str,
        status: int,
        took_s: float,
        source: str = "",
        trace_id: str = "",
    ) -> None:
        """``method`` and ``route`` as ``known`` gives them; ``source`` is one of SOURCES, or
        empty; with a ``trace_id`` it becomes an exemplar.
        """
        spread = REQUEST_SECONDS.of(method, route, _class(status), source)
        if trace_id:
            spread.observe_traced(took_s, trace_id)
        else:
            spread.observe(took_s)

    def known(self, method: str, path: str) -> tuple[str, str]:
        """Method and route, each ``OTHER`` if the service has no such one."""
        return (method if method in METHODS else OTHER, self.route(path))

    def route(self, path: str) -> str:
        """The template of the route that the path matches, or ``OTHER``."""
        if path in self._fixed:
            return path
        found = self._pattern.fullmatch(path)
        if found is None or found.lastindex is None:
            return OTHER
        return self._templates[found.lastindex - 1]


def of_route(method: str, route: str, source: str) -> list[Distribution]:
    """One route's, by the first digit of the status, so that the hot path needs no look-up."""
    return [REQUEST_SECONDS.of(method, route, _class(digit * 100), source) for digit in range(6)]


def _class(status: int) -> str:
    return f"{status // 100}xx"


def _template(path: str) -> str:
    return re.sub(r"/:(\w+)", r"/{\1}", path)


def _pattern(template: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
