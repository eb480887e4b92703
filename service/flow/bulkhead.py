"""Bounds one kind of work, so that it cannot use up resources that other work needs."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.model.errors import Overloaded


@dataclass(slots=True)
class _Line:
    slots: asyncio.Semaphore
    inside: int = 0


class Bulkhead:
    """At most ``at_once`` pieces of work per key; up to ``max_waiting`` more wait, in order.

    ``work`` is its name in messages ("lists"). A key costs memory only while it has work.
    """

    def __init__(self, work: str, at_once: int, max_waiting: int) -> None:
        self._work = work
        self._at_once = at_once
        self._max_waiting = max_waiting
        self._lines: dict[Hashable, _Line] = {}

    @asynccontextmanager
    async def entered(self, key: Hashable, wait_s: float) -> AsyncIterator[None]:
        """Run the block as one piece of the key's work.

        Raises Overloaded, at once if too many wait, otherwise after ``wait_s``.
        """
        line = self._lines.setdefault(key, _Line(asyncio.Semaphore(self._at_once)))
        if line.inside >= self._at_once + self._max_waiting:
            raise self._overloaded()
        line.inside += 1
        try:
            try:
                async with asyncio.timeout(wait_s):
                    await line.slots.acquire()
            except TimeoutError:
                raise self._overloaded() from None
            try:
                yield
            finally:
                line.slots.release()
        finally:
            line.inside -= 1
            if not line.inside:
                del self._lines[key]

    def _overloaded(self) -> Overloaded:
        return Overloaded(f"Too many {self._work} are under way.")
