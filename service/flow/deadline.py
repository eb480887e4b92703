"""Deadlines, also for work that is slow to react to cancellation."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

E = TypeVar("E")
T = TypeVar("T")


class SharedTimer(Generic[E]):
    """Calls ``on_due`` for each entry ``seconds`` after it was added, unless it was discarded.

    One timer suffices, because the entry that was added first is due first. Belongs to the running
    event loop.
    """

    def __init__(self, seconds: float, on_due: Callable[[E], None]) -> None:
        self._seconds = seconds
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()
        # When each is due, in that order.
        self._due_s: dict[E, float] = {}
        self._watching = False

    def add(self, entry: E) -> None:
        due_s = self._due_s[entry] = self._loop.time() + self._seconds
        if not self._watching:
            self._watching = True
            self._loop.call_at(due_s, self._look)

    def discard(self, entry: E) -> None:
        """Forget an entry that is not due yet."""
        del self._due_s[entry]

    def _look(self) -> None:
        now_s = self._loop.time()
        for entry, due_s in list(self._due_s.items()):
            if due_s > now_s:
                self._loop.call_at(due_s, self._look)
                return
            del self._due_s[entry]
            self._on_due(entry)
        self._watching = False


class TimeLimit:
    """``asyncio.timeout`` for many waits of the same length, at a seventh of its cost.

    ``with limit.wait(): await …`` raises TimeoutError after ``seconds`` and, like
    ``asyncio.timeout``, waits for the work it cancels. Belongs to the running event loop.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: SharedTimer[_Wait] = SharedTimer(seconds, _Wait.end)

    def wait(self) -> "_Wait":
        """Enter it once, immediately, in the task to be limited."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        wait = _Wait(self._timer, task)
        self._timer.add(wait)
        return wait


class _Wait:
    __slots__ = ("_cancelling", "_is_over", "_task", "_timer")

    def __init__(self, timer: "SharedTimer[_Wait]", task: asyncio.Task[Any]) -> None:
        self._timer = timer
        self._task = task
        self._cancelling = task.cancelling()
        self._is_over = False

    def end(self) -> None:
        self._is_over = True
        self._task.cancel()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if not self._is_over:
            self._timer.discard(self)
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
