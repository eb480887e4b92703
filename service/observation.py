"""Builds what looks at a worker: its log, its numbers on the board, its questions to databases."""

import os
from contextlib import AsyncExitStack
from functools import partial

from service.api.operator.samples import Parts, samples
from service.observe import logs
from service.observe.access_log import AccessLog
from service.observe.metrics import REGISTRY
from service.observe.pauses import Pauses
from service.process.host_numbers import HostNumbers
from service.process.worker_board import WorkerBoard
from service.settings import Settings
from service.telemetry import Telemetry


class Observation:
    """One worker's; made before anything else, since all else may have something to log."""

    def __init__(self, settings: Settings, opened: AsyncExitStack) -> None:
        """What is opened is closed with ``opened``."""
        self._opened = opened
        self._board = WorkerBoard.inherited(os.environ)
        opened.callback(self._board.close)
        self._left = self._board.take_place()
        log = settings.log
        logs.configure(log.level, log.format, self._board.number)
        self._telemetry = Telemetry(settings.otel, self._board.number)
        opened.push_async_callback(self._telemetry.close)
        self.access_log = AccessLog(log.access_sample, log.slow_s, self._board.salt)

    def look(self, parts: Parts) -> HostNumbers:
        """Begin to measure the worker; of host and databases only the first worker does."""
        numbers = HostNumbers(self._board, self._left, REGISTRY, partial(samples, parts))
        self._opened.push_async_callback(numbers.close)
        pauses = Pauses()
        self._opened.push_async_callback(pauses.close)
        pauses.start()
        if self._board.number == 0:
            for once in (parts.facts, parts.connections):
                self._opened.push_async_callback(once.close)
                once.start()
        numbers.start()
        self._telemetry.start(numbers)
        return numbers
