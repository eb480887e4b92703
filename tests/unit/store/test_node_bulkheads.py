import asyncio

import pytest

from service.flow.breaker import Breaker, Policy
from service.model.errors import ShardUnavailable
from service.store.node_bulkheads import NodeBulkhead


async def _row() -> str:
    return "row"


async def _fails() -> str:
    raise ShardUnavailable("down")


def test_an_open_breaker_refuses_unless_it_is_the_last_node() -> None:
    async def use() -> None:
        clock = asyncio.get_running_loop().time
        bulkhead = NodeBulkhead("node", Breaker(clock, Policy(calls_min=1, pause_s=60)), 10, clock)
        with pytest.raises(ShardUnavailable, match="down"):
            await bulkhead.attempt(1, 5, _fails)
        with pytest.raises(ShardUnavailable, match="too often"):
            await bulkhead.attempt(1, 5, _row)
        assert await bulkhead.attempt(1, 5, _row, at_last=True) == "row"
        assert not bulkhead.breaker.closed
        assert bulkhead.in_flight == 0

    asyncio.run(use())
