"""What single parts of a request cost, by pytest-benchmark: ``pytest bench/test_parts.py``."""

import asyncio
import itertools
import random
from typing import Any

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from service.access.quota import Reply
from service.access.quota_leases import QuotaLeases
from service.cache.connection import encode
from service.cache.pipeline import RedisPipeline
from service.model.rate import Admission, Rate
from tests.fixtures.redis_server import redis_server

RATE = Rate(10**9, 1)


def with_a_lease(*keys: str) -> QuotaLeases:
    """One worker with a lease on each key that no test uses up."""
    loop = asyncio.new_event_loop()
    leases = QuotaLeases("w", loop.time, lambda: None, lambda: True)
    loop.close()
    for key in keys:
        assert leases.admit(key, RATE, 1, lambda _: None) is None
    for call in leases.due_calls():
        leases.replied(call, Reply(10**9, 0.0, b"0", 1, 0.0, 0))
    return leases


def test_lease_hit(benchmark: BenchmarkFixture) -> None:
    admit = with_a_lease("key:0").admit

    def never(admission: Admission) -> None:
        raise AssertionError(admission)

    def thousand() -> None:
        for _ in range(1000):
            admit("key:0", RATE, 1, never)

    benchmark(thousand)


def test_lease_hit_over_many_keys(benchmark: BenchmarkFixture) -> None:
    keys = [f"key:{n}" for n in range(50_000)]
    admit = with_a_lease(*keys).admit
    random.Random(1).shuffle(keys)
    chosen = itertools.cycle(keys)

    def thousand() -> None:
        for key in itertools.islice(chosen, 1000):
            admit(key, RATE, 1, lambda _: None)

    benchmark(thousand)


def test_limit_fields(benchmark: BenchmarkFixture) -> None:
    admission = Admission(True, Rate(), 57, 1, 0)
    benchmark(admission.fields)


def test_encode_a_get(benchmark: BenchmarkFixture) -> None:
    benchmark(encode, (b"GET", b"item:01JQ3W5X8ZABCDEFGHJKMNPQRS"))


@pytest.mark.parametrize("at_once", [1, 64])
def test_pipelined_get(benchmark: BenchmarkFixture, at_once: int) -> None:
    """``at_once`` GETs of 1 kB in one tick, until the last callback."""
    with redis_server() as server:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        pipeline = runner.run(_opened(server.url))

        async def gets() -> None:
            done = asyncio.get_running_loop().create_future()
            left = at_once

            def got(_: Any) -> None:
                nonlocal left
                left -= 1
                if not left:
                    done.set_result(None)

            for _ in range(at_once):
                pipeline.send_callback((b"GET", b"item:01JQ3W5X8ZABCDEFGHJKMNPQRS"), got)
            await done

        benchmark(lambda: runner.run(gets()))
        runner.run(pipeline.close())
        runner.close()


async def _opened(url: str) -> RedisPipeline:
    pipeline = RedisPipeline(url)
    await pipeline.open()
    await pipeline.send((b"SET", b"item:01JQ3W5X8ZABCDEFGHJKMNPQRS", b"x" * 1000))
    return pipeline
