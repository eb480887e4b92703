"""Ends the work for clients that have closed their connections."""

import asyncio
from types import TracebackType
from typing import Any, Final, Self

from service.api.request import Exchange

# In logs and metrics, as nginx counts such requests; it is never sent.
CLIENT_LEFT: Final = 499

# Most requests are answered before, and watching costs a task.
_AFTER_S: Final = 0.5


class ClientWatch:
    """One worker's watch over its requests. One timer suffices, as in flow.deadline.TimeLimit.

    Belongs to the running event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Those that are not watched yet, in the order of their beginning.
        self._young: dict[Served, None] = {}
        self._looking = False

    def over(self, exchange: Exchange) -> "Served":
        """A block of the running task, to be entered once and immediately."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        served = Served(self._young, task, exchange, self._loop.time() + _AFTER_S)
        self._young[served] = None
        if not self._looking:
            self._looking = True
            self._loop.call_later(_AFTER_S, self._look)
        return served

    def _look(self) -> None:
        now_s = self._loop.time()
        for served in list(self._young):
            if served.watched_from_s > now_s:
                self._loop.call_at(served.watched_from_s, self._look)
                return
            served.watch()
        self._looking = False


class Served:
    """A block that is cancelled and left quietly if the client leaves; ``left`` says so.

    Statements in PostgreSQL end then, and locks that they wait for are not waited for any more. A
    write may nevertheless have happened, as after every lost answer.
    """

    __slots__ = ("_exchange", "_task", "_watching", "_young", "left", "watched_from_s")

    def __init__(
        self,
        young: "dict[Served, None]",
        task: asyncio.Task[Any],
        exchange: Exchange,
        watched_from_s: float,
    ) -> None:
        self._young, self._task, self._exchange = young, task, exchange
        self._watching: asyncio.Future[None] | None = None
        self.watched_from_s = watched_from_s
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
            del self._young[self]
            return False
        self._watching.cancel()
        return self.left and kind is asyncio.CancelledError and not self._task.uncancel()

    def watch(self) -> None:
        del self._young[self]
        self._watching = asyncio.ensure_future(_departure(self._exchange))
        self._watching.add_done_callback(self._leave)

    def _leave(self, watching: asyncio.Future[None]) -> None:
        if not watching.cancelled() and watching.exception() is None:
            self.left = self._task.cancel()


async def _departure(exchange: Exchange) -> None:
    await exchange.client_disconnect()
