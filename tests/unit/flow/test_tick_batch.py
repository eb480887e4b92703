"""Items of one tick are sent together, and no item suffers from a neighbour."""

import asyncio
from collections.abc import Sequence

import pytest

from service.flow.retry import retried
from service.flow.tick_batch import TickBatch
from service.model.errors import Overloaded

Batch = TickBatch[str, int, int]


class _Doubling:
    """The work: doubles, refuses 13, fails for the group "down", and waits for ``gate``."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, group: str, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append((group, list(numbers)))
        await self.gate.wait()
        if group == "down":
            raise ConnectionError(group)
        return [ValueError(n) if n == 13 else 2 * n for n in numbers]


def _batch(work: _Doubling, max_running: int = 1) -> Batch:
    return TickBatch(work, lambda n: n, max_items=10, max_bytes=100, max_running=max_running)


def test_one_tick_is_one_batch_a_group() -> None:
    async def run() -> None:
        work = _Doubling()
        batch = _batch(work)
        asked = [batch.add(group, n) for n in (1, 2, 3) for group in ("a", "b")]
        assert await asyncio.gather(*asked) == [2, 2, 4, 4, 6, 6]
        assert work.batches == [("a", [1, 2, 3]), ("b", [1, 2, 3])]

    asyncio.run(run())


def test_an_item_beyond_the_maximum_is_refused() -> None:
    async def run() -> None:
        work = _Doubling()
        batch = Batch(work, lambda n: n, max_items=10, max_bytes=100, max_running=1, max_waiting=2)
        asked = [batch.add("a", 1), batch.add("a", 2)]
        with pytest.raises(Overloaded):
            batch.add("a", 3)
        asked.append(batch.add("b", 4))
        assert await asyncio.gather(*asked) == [2, 4, 8]
        assert await batch.add("a", 3) == 6

    asyncio.run(run())


def test_while_one_batch_runs_the_next_is_collected() -> None:
    async def run() -> None:
        work = _Doubling()
        work.gate.clear()
        batch = _batch(work)
        asked = []
        for n in range(5):
            asked.append(batch.add("a", n))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        work.gate.set()
        assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]
        assert work.batches == [("a", [0]), ("a", [1, 2, 3, 4])]

    asyncio.run(run())


def test_a_batch_is_bounded_by_count_and_size() -> None:
    async def run() -> None:
        work = _Doubling()
        batch = _batch(work)
        asked = [batch.add("a", n) for n in [*[0] * 12, 60, 60, 500, 1]]
        await asyncio.gather(*asked)
        assert [numbers for _, numbers in work.batches] == [[0] * 10, [0, 0, 60], [60], [500], [1]]

    asyncio.run(run())


def test_errors_and_cancellations_stay_with_their_own() -> None:
    async def run() -> None:
        work = _Doubling()
        batch = _batch(work)
        good, bad, gone = (batch.add("a", n) for n in (1, 13, 5))
        down = batch.add("down", 1)
        gone.cancel()
        assert await good == 2
        with pytest.raises(ValueError, match="13"):
            await bad
        with pytest.raises(ConnectionError):
            await down
        assert work.batches == [("a", [1, 13]), ("down", [1])]
        assert await batch.add("a", 4) == 8

    asyncio.run(run())


@pytest.mark.parametrize(("run_again", "attempts"), [(True, 4), (False, 1)])
def test_only_safe_errors_are_retried(run_again: bool, attempts: int) -> None:
    seen: list[int] = []

    async def attempt() -> str:
        seen.append(len(seen))
        if len(seen) < 4:
            raise Overloaded("busy", retry_after_s=1, run_again=run_again)
        return "done"

    async def run() -> str:
        return await retried(attempt, asyncio.get_running_loop().time() + 60)

    if run_again:
        assert asyncio.run(run()) == "done"
    else:
        with pytest.raises(Overloaded):
            asyncio.run(run())
    assert len(seen) == attempts


def test_nothing_is_tried_again_when_time_is_over() -> None:
    seen: list[int] = []

    async def attempt() -> None:
        seen.append(1)
        raise Overloaded("busy", retry_after_s=1, run_again=True)

    async def run() -> None:
        await retried(attempt, asyncio.get_running_loop().time())

    with pytest.raises(Overloaded):
        asyncio.run(run())
    assert seen == [1]
