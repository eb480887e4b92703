"""Publishes one worker's metrics on the worker board, and sums those of all workers."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress

from service.observe.instruments import Registry
from service.observe.totals import Sample, Totals, merged
from service.process.worker_board import WorkerBoard

_WRITE_EVERY_S = 1.0
_KEYS_EVERY = 5


class HostNumbers:
    """The metrics of a worker and its host; belongs to the worker's event loop.

    ``previous`` is what the last worker in its slot wrote, ``samples`` reads what the registry does
    not count, and ``busiest`` the limiter's keys; it is expensive, so it is called less often.
    """

    def __init__(
        self,
        board: WorkerBoard,
        previous: bytes | None,
        registry: Registry,
        samples: Callable[[], Iterable[Sample]],
        busiest: Callable[[], dict[str, list[float]]] = dict,
    ) -> None:
        self._board = board
        self._registry = registry
        self._samples = samples
        self._before = Totals() if previous is None else Totals.decoded(previous)
        self._busiest = busiest
        self._keys: dict[str, list[float]] = {}
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._publish()
        self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write a last time, because the next worker in the slot continues from it."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
            self._publish()

    def read(self) -> Totals:
        """All workers' metrics: this one's current ones, the others' at most a second old.

        It publishes its own first, so that no other worker shows a lower counter afterwards.
        """
        living, ended = {self._board.number: self._publish()}, []
        for number, snapshot in self._board.snapshots().items():
            if number == self._board.number:
                continue
            totals = Totals.decoded(snapshot.text)
            if snapshot.alive:
                living[number] = totals
            else:
                ended.append(totals)
        return merged(self._registry.described, dict(sorted(living.items())), ended)

    def _publish(self) -> Totals:
        taken = Totals.taken(self._registry, self._samples())
        taken.grow(self._before)
        taken.keys = self._keys
        self._board.write(taken.encoded())
        return taken

    async def _write(self) -> None:
        for turn in itertools.count():
            await asyncio.sleep(_WRITE_EVERY_S)
            if turn % _KEYS_EVERY == 0:
                self._keys = self._busiest()
            self._publish()
