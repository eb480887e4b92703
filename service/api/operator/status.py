"""/status: a page with charts of the host, and their numbers.

The page loads nothing from other hosts and has no inline script, so its policy forbids both.
"""

import time
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from service.access import scopes
from service.api.headers.content_codings import choose_coding, coded
from service.api.operator.samples import Parts
from service.api.request import Reply, RequestContext
from service.model.errors import NoSuchRoute
from service.observe import metrics
from service.observe.history import charts
from service.observe.totals import Totals
from service.process.host_history import HostHistory
from service.process.host_numbers import HostNumbers

_ASSETS = {
    "page.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    ("cache-control", "no-store"),
    ("content-security-policy", _POLICY),
    ("referrer-policy", "no-referrer"),
    ("vary", "Accept-Encoding"),
    ("x-content-type-options", "nosniff"),
]
_STATES = {0.0: "closed", 1.0: "half-open", 2.0: "open"}
_ROLES = {0.0: "no answer", 1.0: "replica", 2.0: "primary"}
_BUSIEST = 10


class Status:
    """For the same callers as /metrics.

    All methods raise InsufficientScope.
    """

    def __init__(
        self,
        numbers: HostNumbers,
        history: HostHistory,
        parts: Parts,
    ) -> None:
        self._numbers = numbers
        self._history = history
        self._parts = parts

    async def page(self, context: RequestContext) -> Reply:
        """GET /status."""
        return await _sent(context, "text/html; charset=utf-8", _content("page.html"))

    async def asset(self, context: RequestContext) -> Reply:
        """GET /status/{asset}: the page's scripts and style."""
        name = context.path_params["asset"]
        if name not in _ASSETS:
            raise NoSuchRoute("There is nothing at this path.")
        return await _sent(context, _ASSETS[name], _content(name))

    async def data(self, context: RequestContext) -> Reply:
        """GET /status/data."""
        return await _sent(context, "application/json", orjson.dumps(self._data()))

    def _data(self) -> dict[str, Any]:
        host = self._numbers.read()
        return {
            "now": time.time(),
            "history": charts(self._history.points()),
            "build": _build(host),
            "gauges": {
                name: host.gauges[metric, ()]
                for name, metric in _GAUGES.items()
                if (metric, ()) in host.gauges
            },
            "breakers": [
                {"node": labels[0], "worker": int(labels[1]), "state": _STATES[value]}
                for labels, value in sorted(_gauge(host, metrics.BREAKER_STATE))
            ],
            "nodes": list(_nodes(host)),
            "shards": list(self._shards(host)),
            "busiest": [
                {"caller": key, "per_s": speed, "level": level}
                for key, (speed, level) in sorted(
                    host.keys.items(), key=lambda item: item[1], reverse=True
                )[:_BUSIEST]
            ],
        }

    def _shards(self, host: Totals) -> Iterator[dict[str, Any]]:
        owners = self._parts.shards.owners()
        for shard in range(len(self._parts.shards.all)):
            label = (str(shard),)
            yield {
                "shard": shard,
                "buckets": _ranges([bucket for bucket, of in enumerate(owners) if of == shard]),
                "outbox_rows": host.gauges.get((metrics.OUTBOX_ROWS, label)),
                "outbox_oldest_s": host.gauges.get((metrics.OUTBOX_AGE, label)),
            }


_GAUGES = {
    "workers": metrics.WORKERS,
    "connections": metrics.CONNECTIONS,
    "near_bytes": metrics.NEAR_BYTES,
    "near_entries": metrics.NEAR_ENTRIES,
    "limiter_keys": metrics.LIMITER_KEYS,
    "limiter_local": metrics.LIMITER_LOCAL,
    "redis_refused": metrics.REDIS_REFUSED,
}


def _gauge(host: Totals, name: str) -> Iterator[tuple[tuple[str, ...], float]]:
    return ((labels, value) for (of, labels), value in host.gauges.items() if of == name)


def _build(host: Totals) -> dict[str, str]:
    labels = next((labels for labels, _ in _gauge(host, metrics.BUILD)), ("", "", ""))
    return dict(zip(("version", "python", "granian"), labels, strict=True))


def _nodes(host: Totals) -> Iterator[dict[str, Any]]:
    for labels, role in sorted(_gauge(host, metrics.NODE_ROLE)):
        yield {
            "node": labels[0],
            "role": _ROLES[role],
            "timeline": host.gauges.get((metrics.NODE_TIMELINE, labels)),
            "lag_bytes": host.gauges.get((metrics.LAG_BYTES, labels)),
            "lag_s": host.gauges.get((metrics.LAG_SECONDS, labels)),
        }


def _ranges(numbers: Sequence[int]) -> str:
    """0-3, 7, 9-12."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


async def _sent(context: RequestContext, media_type: str, body: bytes) -> Reply:
    if context.caller is not None:
        scopes.require(context.caller, scopes.ADMIN)
    reply = Reply(200, [("content-type", media_type), *_HEADERS], body)
    return await coded(reply, choose_coding(context.headers))


@cache
def _content(name: str) -> bytes:
    return (files(__package__) / "page" / name).read_bytes()
