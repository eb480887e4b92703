"""How many large patches are decided at a time follows from the memory that they may take."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest

from service.flow.byte_budget import ByteBudget
from service.items.write_policy import WritePolicy
from service.model.errors import Overloaded

MIB = 1 << 20


@pytest.mark.parametrize(
    ("max_bytes", "body_max_bytes", "at_once"),
    [(160 * MIB, MIB, 2), (80 * MIB, MIB, 1), (MIB, MIB, 1), (160 * MIB, MIB // 4, 8)],
)
def test_large_patches_are_bounded_in_bytes(
    max_bytes: int, body_max_bytes: int, at_once: int
) -> None:
    patches = ByteBudget("patches", max_bytes)

    async def run() -> None:
        policy = WritePolicy(cast(Any, None), 60.0, patches, body_max_bytes)
        begun = 0

        async def patch(end: asyncio.Event) -> None:
            nonlocal begun
            async with policy.aside():
                begun += 1
                assert patches.used_bytes <= max_bytes
                await end.wait()

        async with AsyncExitStack() as inside:
            for _ in range(at_once):
                await inside.enter_async_context(policy.aside())
            assert 0 < patches.used_bytes <= max_bytes
            end = asyncio.Event()
            waiting = [asyncio.create_task(patch(end)) for _ in range(16)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                async with policy.aside():
                    pass
            assert (begun, patches.refused) == (0, 1)
        end.set()
        await asyncio.gather(*waiting)
        assert (begun, patches.used_bytes) == (16, 0)

    asyncio.run(run())
