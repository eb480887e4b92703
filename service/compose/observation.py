"""Builds a worker's observability: log, metrics on the worker board, queries of databases."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from service.api.finish import Finish
from service.api.operator.health import Health
from service.api.operator.metrics import Metrics
from service.api.operator.samples import Parts, samples
from service.api.operator.status import Status
from service.api.routes import ROUTES
from service.compose.telemetry import Telemetry
from service.observe import logs
from service.observe.access_log import AccessLog
from service.observe.metrics import REGISTRY
from service.observe.pauses import Pauses
from service.observe.requests import RequestTimes
from service.process.connections import OpenConnections
from service.process.host_history import HostHistory
from service.process.host_numbers import HostNumbers
from service.process.worker_board import WorkerBoard
from service.settings import Settings
from service.store.facts import Facts

# How many of the limiter's keys each worker publishes.
_BUSIEST = 20


class Observation:
    """The observability of one worker; made first, because everything else may log."""

    def __init__(self, settings: Settings, opened: AsyncExitStack) -> None:
        """Everything it opens is closed with ``opened``."""
        self._settings = settings
        self._opened = opened
        self._board = WorkerBoard.inherited(os.environ)
        opened.callback(self._board.close)
        self._previous = self._board.take_slot()
        log = settings.log
        logs.configure(log.level, log.format, self._board.number)
        self._telemetry = Telemetry(settings.otel, self._board.number)
        opened.push_async_callback(self._telemetry.close)
        self._times = RequestTimes(route.path for route in ROUTES)
        self.access_log = AccessLog(log.access_sample, log.slow_s, self._board.salt)

    async def look(self, parts: Parts, health: Health) -> tuple[Metrics, Status]:
        """Begin to measure the worker, and listen on the operators' port if there is one.

        Only the first worker measures host and databases.
        """
        facts = Facts(parts.shards.all)
        connections = OpenConnections(self._settings.http.port)
        numbers = HostNumbers(
            self._board,
            self._previous,
            REGISTRY,
            partial(samples, parts, facts, connections),
            partial(self._busiest, parts),
        )
        self._opened.push_async_callback(numbers.close)
        history, pauses = HostHistory(self._board, numbers), Pauses()
        numbers.start()
        once = (facts, connections, history) if self._board.number == 0 else ()
        for part in (pauses, *once):
            self._opened.push_async_callback(part.close)
            part.start()
        self._telemetry.start(numbers)
        metrics, status = Metrics(numbers), Status(numbers, history, parts)
        await self._listen(health, metrics, status)
        return metrics, status

    def finish(self, deprecation: Sequence[tuple[str, str]]) -> Finish:
        """The last step of every answer of the general path."""
        return Finish(
            self._settings.cors,
            deprecation,
            self._times,
            self.access_log,
            always_timing=self._settings.http.timing == "always",
            always_limit=self._settings.limits.fields == "always",
        )

    def _busiest(self, parts: Parts) -> dict[str, list[float]]:
        hashed = self.access_log.hashed
        found = parts.limiter.busiest(_BUSIEST)
        return {hashed(key): [speed, level] for key, speed, level in found}

    async def _listen(self, health: Health, metrics: Metrics, status: Status) -> None:
        if not self._settings.admin.port:
            return
        # Late, because aiohttp is a quarter of what a worker imports.
        from service.api.operator.admin_port import AdminPort

        endpoints = {
            "/livez": health.livez,
            "/readyz": health.readyz,
            "/metrics": metrics.get,
            "/status": status.page,
            "/status/data": status.data,
        }
        port = AdminPort(self._settings.admin, endpoints, status.asset)
        self._opened.push_async_callback(port.close)
        await port.open()
