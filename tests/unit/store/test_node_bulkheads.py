import asyncio

import pytest

from service.flow.breaker import Breaker, Policy
from service.model.errors import ShardUnavailable
from service.store.guards import Guard


async def _row() -> str:
    return "row"


async def _fails() -> str:
    raise ShardUnavailable("down")


def test_an_open_breaker_refuses_unless_nobody_else_is_left() -> None:
    async def use() -> None:
        clock = asyncio.get_running_loop().time
        guard = Guard("node", Breaker(clock, Policy(calls_min=1, pause_s=60)), 10, clock)
        with pytest.raises(ShardUnavailable, match="down"):
            await guard.attempt(1, 5, _fails)
        with pytest.raises(ShardUnavailable, match="too often"):
            await guard.attempt(1, 5, _row)
        assert await guard.attempt(1, 5, _row, at_last=True) == "row"
        assert not guard.breaker.closed
        assert guard.in_flight == 0

    asyncio.run(use())
