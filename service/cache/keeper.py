"""Keeps something connected while its owner is open: one attempt after another."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress


class Keeper:
    """``attempt`` returns when its connection has ended or could not be made; the next one follows
    after at most ``pause_s``. It sets ``tried`` once it has succeeded or failed.
    """

    def __init__(self, attempt: Callable[[], Coroutine[None, None, None]], pause_s: float) -> None:
        self.tried = asyncio.Event()
        self._attempt = attempt
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin; returns after the first attempt, whether or not it succeeded."""
        self._task = asyncio.create_task(self._run())
        await self.tried.wait()

    async def close(self) -> None:
        """End the attempts, including a running one."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._attempt()
            finally:
                self.tried.set()
            await asyncio.sleep(random.uniform(0, self._pause_s))  # noqa: S311  # no secret
