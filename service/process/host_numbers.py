"""One worker's numbers on the board, and with those of the others what the host shows."""

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
    """Belongs to a worker's event loop, and so does the place on the board that it has taken.

    ``left`` is what was found there, ``samples`` reads what the registry does not count, and
    ``busiest`` the limiter's keys, which is dear and so is asked for less often.
    """

    def __init__(
        self,
        board: WorkerBoard,
        left: bytes | None,
        registry: Registry,
        samples: Callable[[], Iterable[Sample]],
        busiest: Callable[[], dict[str, list[float]]] = dict,
    ) -> None:
        self._board = board
        self._registry = registry
        self._samples = samples
        self._before = Totals() if left is None else Totals.decoded(left)
        self._busiest = busiest
        self._keys: dict[str, list[float]] = {}
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._publish()
        self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write a last time: whoever takes the place goes on from there."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
            self._publish()

    def read(self) -> Totals:
        """All workers' numbers: this one's of this moment, the others' a second old at most.

        What is shown here is what others show from now on: counters never seem to go back.
        """
        living, ended = {self._board.number: self._publish()}, []
        for number, notice in self._board.notices().items():
            if number == self._board.number:
                continue
            totals = Totals.decoded(notice.text)
            if notice.alive:
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
