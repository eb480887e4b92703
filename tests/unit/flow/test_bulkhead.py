"""Work beyond its bound waits in order, and is turned away where too much waits."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from service.flow.bulkhead import Bulkhead
from service.model.errors import Overloaded


def test_no_more_than_allowed_run_and_each_key_for_itself() -> None:
    async def run() -> None:
        bulkhead = Bulkhead("tests", 2, 10)
        running: dict[str, int] = {"a": 0, "b": 0}
        most: dict[str, int] = {"a": 0, "b": 0}
        order: list[int] = []

        async def work(key: str, number: int) -> None:
            async with bulkhead.entered(key, 60):
                running[key] += 1
                most[key] = max(most[key], running[key])
                if key == "a":
                    order.append(number)
                await asyncio.sleep(0)
                running[key] -= 1

        await asyncio.gather(*(work(key, n) for n in range(8) for key in "ab"))
        assert most == {"a": 2, "b": 2}
        assert order == list(range(8))
        assert bulkhead._lines == {}

    asyncio.run(run())


def test_too_many_waiting_and_too_long_a_wait_are_turned_away() -> None:
    async def run() -> None:
        bulkhead = Bulkhead("tests", 1, 1)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(bulkhead.entered("a", 60))
            waiting = asyncio.ensure_future(stack.enter_async_context(bulkhead.entered("a", 60)))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded) as refused:
                await stack.enter_async_context(bulkhead.entered("a", 60))
            assert refused.value.retry_after_s == 1
            waiting.cancel()
            await asyncio.wait({waiting})
            with pytest.raises(Overloaded):
                await stack.enter_async_context(bulkhead.entered("a", 0))
        async with bulkhead.entered("a", 0.0):
            pass
        assert bulkhead._lines == {}

    asyncio.run(run())
