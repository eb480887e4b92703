"""How many answers of which kind, under labels of which there are few whatever is asked for."""

import re
from collections.abc import Iterable, Iterator

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What no route and no method of ours is counted under.
OTHER = "other"
_CLASSES = 6


class RequestCounts:
    """One worker's counts. ``paths`` are those of the routes, with parameters as ``:name``.

    ``hot`` counts GETs of ``hot_path`` by the first digit of their status: the hot path adds to
    it directly.
    """

    def __init__(self, paths: Iterable[str], hot_path: str) -> None:
        templates = dict.fromkeys(map(_template, paths))
        self._fixed = {path for path in templates if "{" not in path}
        self._templates = [path for path in templates if "{" in path]
        self._pattern = re.compile("|".join(f"({_pattern(path)})" for path in self._templates))
        self._counts: dict[tuple[str, str], list[int]] = {}
        self.hot = self._counts["GET", _template(hot_path)] = [0] * _CLASSES

    def count(self, method: str, path: str, status: int) -> None:
        key = (method if method in METHODS else OTHER, self.route(path))
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0] * _CLASSES
        counts[status // 100] += 1

    def route(self, path: str) -> str:
        """The template of the route that the path would reach, or ``OTHER``."""
        if path in self._fixed:
            return path
        found = self._pattern.fullmatch(path)
        if found is None or found.lastindex is None:
            return OTHER
        return self._templates[found.lastindex - 1]

    def counted(self) -> Iterator[tuple[tuple[str, str, str], int]]:
        """Method, route and class of status, and how many."""
        for (method, route), counts in self._counts.items():
            for digit, number in enumerate(counts):
                if number:
                    yield (method, route, f"{digit}xx"), number


def _template(path: str) -> str:
    return re.sub(r"/:(\w+)", r"/{\1}", path)


def _pattern(template: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
