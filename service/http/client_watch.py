"""Ends the work for a client that has closed its connection."""

import asyncio
from types import TracebackType
from typing import Final, Self

from service.api.request import Exchange

# In logs and metrics, as nginx counts such requests; it is never sent.
CLIENT_LEFT: Final = 499

# Most requests are answered before, and watching costs a task.
_AFTER_S: Final = 0.5


class ClientWatch:
    """A block that is cancelled and left quietly if the client leaves; ``left`` says so.

    Statements in PostgreSQL end then, and locks that they wait for are not waited for any more. A
    write may nevertheless have happened, as after every lost answer.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._watching: asyncio.Future[None] | None = None
        self.left = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(_AFTER_S, self._watch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        return self.left and kind is asyncio.CancelledError and not self._task.uncancel()

    def _watch(self) -> None:
        self._watching = asyncio.ensure_future(_departure(self._exchange))
        self._watching.add_done_callback(self._leave)

    def _leave(self, watching: asyncio.Future[None]) -> None:
        if not watching.cancelled() and watching.exception() is None:
            self.left = self._task.cancel()


async def _departure(exchange: Exchange) -> None:
    await exchange.client_disconnect()
