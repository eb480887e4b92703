"""An end to every wait, also where cleaning up after a cancellation takes time of its own."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

# Cancelled work that is still tidying up; the loop alone would hold it weakly.
_leaving: set[asyncio.Task[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, or TimeoutError after ``seconds``, at once.

    ``asyncio.timeout`` waits for the cancelled task to finish; psycopg's needs up to ten
    seconds when the server is stopped (it sends a cancel request and reads on). So the work
    is cancelled and left to end by itself. Cancelling the caller cancels the work likewise.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    # What asyncio.wait does, at half its price: this is on the way of every write.
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
        task.exception()  # retrieved, so that the loop does not report it as lost


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which goes on to its end even where the caller is cancelled.

    For what must not stop half-way, such as giving a connection back to its pool.
    """
    task = asyncio.ensure_future(work)
    _leaving.add(task)
    task.add_done_callback(_left)
    return await asyncio.shield(task)
