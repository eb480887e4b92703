"""Groups the requests of one event-loop tick into one piece of work.

Items added during a tick are sent together when the tick ends. While the maximum of batches is
running, further items accumulate: the slower the work, the larger the batches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from service.model.errors import Overloaded
from service.observe.instruments import Distribution
from service.observe.tracing import current

G = TypeVar("G")
T = TypeVar("T")
R = TypeVar("R")


# The context is that of a traced request.
_Waiting: TypeAlias = tuple[T, asyncio.Future[R], Context | None]


@dataclass(slots=True)
class _Group(Generic[T, R]):
    waiting: deque[_Waiting[T, R]] = field(default_factory=deque)
    running: int = 0
    leaves: bool = False


class TickBatch(Generic[G, T, R]):
    """Batches per group (for example, per shard).

    ``work`` gets a group and its items, and returns for each, in order, a result or an exception;
    if it raises, all of them fail. A caller that gives up does not cancel it, because others share
    it. ``size`` returns an item's size in bytes; ``max_waiting`` bounds a group's items that have
    not been sent. ``sizes`` observes the number of items of each batch.
    """

    def __init__(
        self,
        work: Callable[[G, Sequence[T]], Awaitable[Sequence[R | Exception]]],
        size: Callable[[T], int],
        *,
        max_items: int,
        max_bytes: int,
        max_running: int,
        max_waiting: int | None = None,
        sizes: Distribution | None = None,
    ) -> None:
        self._sizes = sizes
        self._work = work
        self._size = size
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._groups: dict[G, _Group[T, R]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, group: G, item: T) -> asyncio.Future[R]:
        """The item's result; an item whose future is cancelled before it is sent is dropped.

        Raises Overloaded where too many wait.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        queue = self._groups.setdefault(group, _Group())
        if self._max_waiting is not None and len(queue.waiting) >= self._max_waiting:
            raise Overloaded("Too many requests are waiting.", retry_after_s=1)
        queue.waiting.append((item, future, copy_context() if current() else None))
        if not queue.leaves:
            queue.leaves = True
            loop.call_soon(self._leave, group, queue)
        return future

    def _leave(self, group: G, queue: _Group[T, R]) -> None:
        queue.leaves = False
        while queue.running < self._max_running and (batch := self._take(queue)):
            queue.running += 1
            if self._sizes is not None:
                self._sizes.observe(len(batch))
            # Of several traced requests only the first one's trace shows the work.
            context = next((traced for _, _, traced in batch if traced), None) or Context()
            task = asyncio.create_task(self._run(group, queue, batch), context=context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            _cancel_when_unwanted(task, [future for _, future, _ in batch])

    def _take(self, queue: _Group[T, R]) -> list[_Waiting[T, R]]:
        batch: list[_Waiting[T, R]] = []
        room = self._max_bytes
        while queue.waiting and len(batch) < self._max_items:
            item, future, traced = queue.waiting[0]
            room -= self._size(item)
            if room < 0 and batch:
                break
            queue.waiting.popleft()
            if not future.done():
                batch.append((item, future, traced))
        return batch

    async def _run(self, group: G, queue: _Group[T, R], batch: list[_Waiting[T, R]]) -> None:
        results: Sequence[R | Exception]
        try:
            results = await self._work(group, [item for item, _, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        finally:
            queue.running -= 1
            self._leave(group, queue)
        for (_, future, _), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


def _cancel_when_unwanted(task: asyncio.Task[None], results: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel the work once nobody waits for any of its results."""
    wanted = len(results)

    def give_up(result: asyncio.Future[Any]) -> None:
        nonlocal wanted
        wanted -= result.cancelled()
        if not wanted:
            task.cancel()

    for result in results:
        result.add_done_callback(give_up)
