"""Times when the worker answers no request: garbage collector pauses and event loop lag."""

import asyncio
import gc
import time
from contextlib import suppress
from typing import Any

from service.observe.metrics import GC_SECONDS, LOOP_LAG_SECONDS

_LOOK_EVERY_S = 0.1


class Pauses:
    """Measures both until it is closed; belongs to the running event loop."""

    def __init__(self) -> None:
        self._lag = LOOP_LAG_SECONDS.of()
        self._pauses = [GC_SECONDS.of(str(generation)) for generation in range(3)]
        self._collecting_since = 0.0
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        gc.callbacks.append(self._collected)
        self._watch = asyncio.create_task(self._look())

    async def close(self) -> None:
        if self._watch is not None:
            gc.callbacks.remove(self._collected)
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._collecting_since = time.perf_counter()
        else:
            took_s = time.perf_counter() - self._collecting_since
            self._pauses[info["generation"]].observe(took_s)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK_EVERY_S
            await asyncio.sleep(_LOOK_EVERY_S)
            self._lag.observe(max(0.0, loop.time() - due))
