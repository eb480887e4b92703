"""Keeps the host's last minutes on the worker board, so that every worker can show them."""

import asyncio
import time
from contextlib import suppress

import orjson

from service.observe.history import EVERY_S, POINTS, Point, point
from service.process.host_numbers import HostNumbers
from service.process.worker_board import WorkerBoard


class HostHistory:
    """Written by worker 0 once started, read by all; belongs to the event loop."""

    def __init__(self, board: WorkerBoard, numbers: HostNumbers) -> None:
        self._board = board
        self._numbers = numbers
        self._writing: asyncio.Task[None] | None = None

    def points(self) -> list[Point]:
        """The points, oldest first; those of a former worker 0 are included."""
        text = self._board.shared()
        return [] if text is None else [Point(*values) for values in orjson.loads(text)]

    def start(self) -> None:
        self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            with suppress(asyncio.CancelledError):
                await self._writing

    async def _write(self) -> None:
        while True:
            points = [*self.points()[1 - POINTS :], point(self._numbers.read(), time.time())]
            self._board.write_shared(orjson.dumps([tuple(p) for p in points]))
            await asyncio.sleep(EVERY_S)
