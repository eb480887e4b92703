"""Runs CPU-bound work in a few threads, with a bounded queue and a deadline.

Because asyncio's own pool has an unbounded queue and delays shutdown; these are daemon threads,
which end with the process.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from service.flow.deadline import within
from service.model.errors import Overloaded

T = TypeVar("T")

# Work that takes longer than about a millisecond does not belong on the event loop.
LONG_BYTES: Final = 64 << 10

_Job = tuple["Future[Any]", Callable[[], Any]]


class Offload:
    """``threads`` threads with one job each, and a queue of at most ``max_waiting`` jobs.

    A caller waits at most ``deadline_s``: a job still queued then is dropped, the result of a
    running one ignored. Callers bound the bytes (ByteBudget).
    """

    def __init__(self, threads: int, max_waiting: int, deadline_s: float) -> None:
        self._threads = threads
        self._max_waiting = max_waiting
        self._deadline_s = deadline_s
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._started = 0
        self.running = 0

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of ``work``; raises what it raises, and Overloaded."""
        if self.running >= self._threads + self._max_waiting:
            raise Overloaded("Too much is being computed already.", retry_after_s=1)
        if self._started < min(self._threads, self.running + 1):
            self._started += 1
            threading.Thread(target=self._work, name="offload", daemon=True).start()
        job: Future[T] = Future()
        self.running += 1
        self._jobs.put((job, lambda: work(*arguments)))
        try:
            return await within(self._deadline_s, _done(job))
        except TimeoutError:
            raise Overloaded("Too much is being computed already.", retry_after_s=1) from None
        finally:
            self.running -= 1

    def _work(self) -> None:
        while True:
            job, work = self._jobs.get()
            if not job.set_running_or_notify_cancel():
                continue
            try:
                job.set_result(work())
            except BaseException as error:
                job.set_exception(error)
            # Not kept until the next job arrives.
            del job, work


async def _done(job: Future[T]) -> T:
    return await asyncio.wrap_future(job)


# The one of this process; its threads start with the first job, that is after the fork.
BESIDE_THE_LOOP: Final = Offload(threads=2, max_waiting=64, deadline_s=10.0)
