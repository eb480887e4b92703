"""Deadlines, also for work that is slow to react to cancellation."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class TimeLimit:
    """``asyncio.timeout`` for many waits of the same length, at a seventh of its cost.

    ``with limit.wait(): await …`` raises TimeoutError after ``seconds`` and, like
    ``asyncio.timeout``, waits for the work it cancels. One timer suffices, because the wait that
    began first ends first. Belongs to the running event loop.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        # In order of their deadlines.
        self._waits: dict[_Wait, None] = {}
        self._watching = False

    def wait(self) -> "_Wait":
        """Enter it once, immediately, in the task to be limited."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        until_s = self._loop.time() + self.seconds
        wait = _Wait(self._waits, task, until_s)
        self._waits[wait] = None
        if not self._watching:
            self._watching = True
            self._loop.call_at(until_s, self._end_due)
        return wait

    def _end_due(self) -> None:
        now_s = self._loop.time()
        for wait in list(self._waits):
            if wait.until_s > now_s:
                self._loop.call_at(wait.until_s, self._end_due)
                return
            wait.end()
        self._watching = False


class _Wait:
    __slots__ = ("_cancelling", "_is_over", "_task", "_waits", "until_s")

    def __init__(self, waits: "dict[_Wait, None]", task: asyncio.Task[Any], until_s: float) -> None:
        self._waits = waits
        self._task = task
        self._cancelling = task.cancelling()
        self._is_over = False
        self.until_s = until_s

    def end(self) -> None:
        del self._waits[self]
        self._is_over = True
        self._task.cancel()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if not self._is_over:
            del self._waits[self]
        # Not if the task was also cancelled otherwise, because then it has to stay cancelled.
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


# Cancelled work that is still cleaning up, kept here because the loop has only weak references.
_leaving: set[asyncio.Task[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``; raises TimeoutError after ``seconds`` without waiting for ``work``.

    ``asyncio.timeout`` waits for the cancelled task to finish; psycopg needs up to ten seconds when
    the server is frozen (it sends a cancel request and reads on). So the work is cancelled and left
    to end by itself. Cancelling the caller cancels the work too.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    # Half the cost of asyncio.wait, because every write passes here.
    woken: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _wake, woken)
    task.add_done_callback(partial(_wake, woken))
    try:
        await woken
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        timer.cancel()
        if not task.done():
            _leave(task)


def _wake(woken: asyncio.Future[None], _: object = None) -> None:
    if not woken.done():
        woken.set_result(None)


def _leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    _leaving.add(task)
    task.add_done_callback(_left)


def _left(task: asyncio.Task[Any]) -> None:
    _leaving.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved, because otherwise the loop logs it


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which runs to its end even if the caller is cancelled.

    For work that must not stop half-way, such as returning a connection to its pool.
    """
    task = asyncio.ensure_future(work)
    _leaving.add(task)
    task.add_done_callback(_left)
    return await asyncio.shield(task)
