"""Builds what looks at a worker: its log, its numbers on the board, its questions to databases."""

import os
from contextlib import AsyncExitStack
from functools import partial

from service.api.operator.admin_port import AdminPort
from service.api.operator.health import Health
from service.api.operator.metrics import Metrics
from service.api.operator.samples import Parts, samples
from service.api.operator.status import Status
from service.observe import logs
from service.observe.access_log import AccessLog
from service.observe.metrics import REGISTRY
from service.observe.pauses import Pauses
from service.process.host_history import HostHistory
from service.process.host_numbers import HostNumbers
from service.process.worker_board import WorkerBoard
from service.settings import Settings
from service.telemetry import Telemetry

# Of the limiter's keys each worker tells so many.
_BUSIEST = 20


class Observation:
    """One worker's; made before anything else, since all else may have something to log."""

    def __init__(self, settings: Settings, opened: AsyncExitStack) -> None:
        """What is opened is closed with ``opened``."""
        self._settings = settings
        self._opened = opened
        self._board = WorkerBoard.inherited(os.environ)
        opened.callback(self._board.close)
        self._left = self._board.take_place()
        log = settings.log
        logs.configure(log.level, log.format, self._board.number)
        self._telemetry = Telemetry(settings.otel, self._board.number)
        opened.push_async_callback(self._telemetry.close)
        self.access_log = AccessLog(log.access_sample, log.slow_s, self._board.salt)

    def look(self, parts: Parts) -> tuple[Metrics, Status]:
        """Begin to measure the worker; of host and databases only the first worker does."""
        numbers = HostNumbers(
            self._board,
            self._left,
            REGISTRY,
            partial(samples, parts),
            partial(self._busiest, parts),
        )
        self._opened.push_async_callback(numbers.close)
        history = HostHistory(self._board, numbers)
        pauses = Pauses()
        self._opened.push_async_callback(pauses.close)
        pauses.start()
        numbers.start()
        if self._board.number == 0:
            for once in (parts.facts, parts.connections, history):
                self._opened.push_async_callback(once.close)
                once.start()
        self._telemetry.start(numbers)
        status = Status(numbers, history, parts)
        return Metrics(numbers), status

    def _busiest(self, parts: Parts) -> dict[str, list[float]]:
        hashed = self.access_log.hashed
        found = parts.limiter.busiest(_BUSIEST)
        return {hashed(key): [speed, level] for key, speed, level in found}

    async def listen(self, health: Health, metrics: Metrics, status: Status) -> None:
        """Open the operators' port, where the settings name one."""
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
