"""``within`` and ``TimeLimit``: the end of a wait, even if the work does not end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.flow.deadline import TimeLimit, within


class _Stubborn:
    """Work that was asked to stop and takes until ``may_end``."""

    def __init__(self) -> None:
        self.asked_to_stop = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.asked_to_stop.set()
            await self.may_end.wait()
            self.ended.set()
            raise


async def _one() -> int:
    await asyncio.sleep(0)
    return 1


async def _fails() -> None:
    raise ValueError("of its own")


def test_the_result_and_the_error_are_the_work_s() -> None:
    async def run() -> None:
        assert await within(60, _one()) == 1
        with pytest.raises(ValueError, match="of its own"):
            await within(60, _fails())

    asyncio.run(run())


def test_the_deadline_does_not_wait_for_the_work() -> None:
    async def run() -> None:
        work = _Stubborn()
        with pytest.raises(TimeoutError):
            await within(0.01, work.run())
        assert not work.ended.is_set()
        await work.asked_to_stop.wait()
        work.may_end.set()
        await work.ended.wait()

    asyncio.run(run())


def test_cancelling_the_caller_cancels_the_work_without_waiting() -> None:
    async def run() -> None:
        work = _Stubborn()
        waiting = asyncio.ensure_future(within(60, work.run()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await work.asked_to_stop.wait()
        assert not work.ended.is_set()
        work.may_end.set()
        await work.ended.wait()

    asyncio.run(run())


def test_a_limit_ends_only_waits_that_take_too_long() -> None:
    async def run() -> None:
        limit = TimeLimit(0.01)
        with limit.wait():
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="of its own"), limit.wait():
            await _fails()
        with pytest.raises(TimeoutError), limit.wait():
            await asyncio.Event().wait()
        # What is over no longer counts: this would end at once if it did.
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with limit.wait():
            await asyncio.sleep(0)

    asyncio.run(run())


def test_each_wait_has_a_whole_limit_of_its_own() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        limit = TimeLimit(0.6)
        took_s = []

        async def wait() -> None:
            begun_s = loop.time()
            with pytest.raises(TimeoutError), limit.wait():
                await asyncio.Event().wait()
            took_s.append(loop.time() - begun_s)

        with limit.wait():
            first = asyncio.create_task(wait())
            await asyncio.sleep(0.1)
        second = asyncio.create_task(wait())
        await asyncio.gather(first, second)
        # As exact as the event loop's clock.
        assert min(took_s) > 0.59

    asyncio.run(run())


def test_a_cancelled_task_stays_cancelled() -> None:
    asyncio.run(_cancelled(60, asyncio.Event().wait, after_s=0))


def test_cancelled_by_others_when_time_is_up_is_cancelled_all_the_same() -> None:
    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # Takes a while, in which the caller gives up as well.
            await asyncio.sleep(60)

    asyncio.run(_cancelled(0.01, cleans_up, after_s=0.05))


async def _cancelled(limit_s: float, work: Callable[[], Awaitable[object]], after_s: float) -> None:
    """Work under a limit that is cancelled from outside ends as cancelled."""
    limit = TimeLimit(limit_s)

    async def limited() -> None:
        with limit.wait():
            await work()

    task = asyncio.create_task(limited())
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
