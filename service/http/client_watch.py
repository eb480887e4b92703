"""Ends the work for clients that have closed their connections."""

import asyncio
from types import TracebackType
from typing import Any, Final, Self

from service.api.request import Exchange
from service.flow.deadline import SharedTimer

# In logs and metrics, as nginx counts such requests; it is never sent.
CLIENT_LEFT: Final = 499

# Most requests are answered before, and watching costs a task.
_AFTER_S: Final = 0.5


class ClientWatch:
    """One worker's watch over its requests; belongs to the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._young: SharedTimer[Served] = SharedTimer(_AFTER_S, Served.watch)

    def over(self, exchange: Exchange) -> "Served":
        """A block of the running task, to be entered once and immediately."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        served = Served(self._young, task, exchange)
        self._young.add(served)
        return served


class Served:
    """A block that is cancelled and left quietly if the client leaves; ``left`` says so.

    Statements in PostgreSQL end then, and locks that they wait for are not waited for any more. A
    write may nevertheless have happened, as after every lost answer.
    """

    __slots__ = ("_exchange", "_task", "_watching", "_young", "left")

    def __init__(
        self, young: "SharedTimer[Served]", task: asyncio.Task[Any], exchange: Exchange
    ) -> None:
        self._young, self._task, self._exchange = young, task, exchange
        self._watching: asyncio.Future[None] | None = None
        self.left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._watching is None:
            self._young.discard(self)
            return False
        self._watching.cancel()
        return self.left and kind is asyncio.CancelledError and not self._task.uncancel()

    def watch(self) -> None:
        self._watching = asyncio.ensure_future(_departure(self._exchange))
        self._watching.add_done_callback(self._leave)

    def _leave(self, watching: asyncio.Future[None]) -> None:
        if not watching.cancelled() and watching.exception() is None:
            self.left = self._task.cancel()


async def _departure(exchange: Exchange) -> None:
    await exchange.client_disconnect()
