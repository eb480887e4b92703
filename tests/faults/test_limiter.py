"""The limits of one worker while Redis hangs, dies and comes back."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from service.access.limiter import BORN_KEY, SCRIPTS, Limiter
from service.cache.pipeline import RedisPipeline
from service.model.rate import Admission, Rate
from tests.fixtures.pipelines import connected
from tests.fixtures.redis_server import RedisServer, in_run, redis_server

RATE = Rate(100, 60)


@asynccontextmanager
async def limiter_on(
    server: RedisServer, workers: int = 1
) -> AsyncIterator[tuple[Limiter, RedisPipeline]]:
    async with connected(server.url, timeout_s=0.1, scripts=SCRIPTS) as pipeline:
        limiter = Limiter(pipeline, workers)
        try:
            yield limiter, pipeline
        finally:
            await limiter.close()


async def ask(limiter: Limiter, key: str, times: int) -> list[Admission]:
    return await asyncio.gather(*(limiter.admission(key, RATE) for _ in range(times)))


def without_waiting(admission: Coroutine[Any, Any, Admission]) -> Admission:
    """The result of the coroutine's first step."""
    with pytest.raises(StopIteration) as done:
        admission.send(None)
    answer: Admission = done.value.value
    return answer


def passed(admissions: list[Admission]) -> int:
    return sum(admission.allowed for admission in admissions)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1000):
        if await condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never came to pass")


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_without_redis_a_reduced_limit_holds_and_no_request_waits(how: signal.Signals) -> None:
    async def body(server: RedisServer) -> None:
        async with limiter_on(server) as (limiter, pipeline):
            assert passed(await ask(limiter, "before", 10)) == 10
            server.signal(how)
            # Those that were on their way to Redis are answered too, by the reduced limit.
            assert passed(await ask(limiter, "first", 40)) == 25
            assert not pipeline.available
            admissions = [without_waiting(limiter.admission("then", RATE)) for _ in range(400)]
            assert passed(admissions) == 25
            assert all(admission.retry_after_s >= 1 for admission in admissions[25:])
            assert dict(admissions[0].fields()) == {
                "ratelimit-policy": '"default";q=100;w=60',
                "ratelimit": '"default";r=24;t=1',
            }
            assert admissions[30].retry_after_s == 3

            if how == signal.SIGSTOP:
                server.signal(signal.SIGCONT)
            else:
                server.process.wait(timeout=10)
                server.start()
                with server.client() as client:
                    client.set(in_run(client, BORN_KEY), 0)  # as if it were long ago

            async def back() -> bool:
                return pipeline.available

            await until(back)
            # The whole limit again, less what passed in the meantime.
            assert 74 <= passed(await ask(limiter, "then", 100)) <= 85
            assert passed(await ask(limiter, "new", 200)) == 100

    with redis_server() as server:
        with server.client() as client:
            client.set(in_run(client, BORN_KEY), 0)
        uvloop.run(body(server))


def test_the_share_follows_the_number_of_living_workers() -> None:
    async def body(server: RedisServer) -> None:
        async with limiter_on(server) as (first, _), limiter_on(server) as (second, pipeline):
            others = [Limiter(pipeline) for _ in range(6)]
            for limiter in (first, second, *others):
                limiter.start()

            async def all_know() -> bool:
                return first.workers == second.workers == 8

            await until(all_know)
            server.kill()

            async def away() -> bool:
                return not pipeline.available

            await until(away)
            assert passed(await ask(second, "k", 100)) == 12
            for limiter in others:
                await limiter.close()

    with redis_server() as server:
        uvloop.run(body(server))


def test_a_worker_that_ends_gives_its_leases_back() -> None:
    async def body(server: RedisServer) -> None:
        fast = Rate(60_000, 60)
        async with limiter_on(server) as (limiter, _):
            for _ in range(200):
                await limiter.admission("fast", fast)
                await asyncio.sleep(0.001)
        async with limiter_on(server) as (limiter, _):
            burst = await asyncio.gather(*(limiter.admission("fast", fast) for _ in range(60_000)))
            assert passed(list(burst)) >= 59_800

    with redis_server() as server:
        with server.client() as client:
            client.set(in_run(client, BORN_KEY), 0)
        uvloop.run(body(server))


def test_without_any_redis_the_reduced_limit_applies() -> None:
    async def body() -> None:
        limiter = Limiter(None, workers=2)
        limiter.start()
        assert passed(await ask(limiter, "k", 100)) == 25
        await limiter.close()

    uvloop.run(body())
