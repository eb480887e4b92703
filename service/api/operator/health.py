"""Liveness and readiness: /livez and /readyz."""

from collections.abc import Callable, Mapping, Sequence

import orjson

from service.api.request import Reply, RequestContext
from service.flow.breaker import Status
from service.store.shards import Shards

_FIELDS = [("content-type", "application/json"), ("cache-control", "no-store")]


class Health:
    """Answers probes. They need no credentials, so they contain only names and states.

    ``breakers`` returns those of the database nodes by name, ``cache_degradations`` the cache's
    degradations in words.
    """

    def __init__(
        self,
        shards: Shards,
        breakers: Callable[[], Mapping[str, Status]],
        cache_degradations: Callable[[], Sequence[str]],
        draining: Callable[[], bool],
    ) -> None:
        self._shards = shards
        self._breakers = breakers
        self._cache_degradations = cache_degradations
        self._draining = draining

    async def livez(self, _: RequestContext) -> Reply:
        """200 as long as the event loop runs."""
        return _reply(200, {"status": "alive"})

    async def readyz(self, _: RequestContext) -> Reply:
        """200 while any node can be read and the worker is not draining.

        ``degraded`` lists what cannot be reached now or has an open breaker; without Redis the
        service is degraded, not unready.
        """
        if self._draining():
            return _reply(503, {"status": "draining"}, [("retry-after", "1")])
        degraded = [
            f"shard {s.number}: no primary" for s in self._shards.all if not s.primary_known
        ]
        degraded += [
            f"shard {s.number}: node {node} takes writes on timeline {timeline} and is ignored"
            for s in self._shards.all
            for node, timeline in s.rivals.items()
        ]
        degraded += [
            f"shard {s.number}: node {node} has fsync off"
            for s in self._shards.all
            for node in s.unsafe
        ]
        degraded += [
            f"shard {s.number}: {s.hanging} commits hang" for s in self._shards.all if s.hanging
        ]
        degraded += [
            f"{name}: breaker {status.state}"
            for name, status in self._breakers().items()
            if status.left_s > 0
        ]
        degraded += self._cache_degradations()
        readable = any(shard.primary_known or shard.replicas for shard in self._shards.all)
        status = "unready" if not readable else "degraded" if degraded else "ready"
        body = {"status": status, "degraded": degraded}
        return _reply(200, body) if readable else _reply(503, body, [("retry-after", "1")])


def _reply(
    status: int, body: Mapping[str, object], more: list[tuple[str, str]] | None = None
) -> Reply:
    return Reply(status, _FIELDS + (more or []), orjson.dumps(body))
