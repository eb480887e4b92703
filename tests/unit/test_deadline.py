"""``within``: the end of a wait, whatever the work does about its own."""

import asyncio

import pytest

from service.flow.deadline import within


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


def test_time_is_up_although_the_work_goes_on() -> None:
    async def run() -> None:
        work = _Stubborn()
        with pytest.raises(TimeoutError):
            await within(0.01, work.run())
        assert not work.ended.is_set()
        await work.asked_to_stop.wait()
        work.may_end.set()
        await work.ended.wait()

    asyncio.run(run())


def test_cancelling_who_waits_cancels_the_work_and_does_not_wait_for_it() -> None:
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
