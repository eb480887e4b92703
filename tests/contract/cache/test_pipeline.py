"""The contract of the Redis pipeline, against a real Redis."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from service.cache.pipeline import RedisPipeline, Script
from service.model.errors import CacheUnavailable, Overloaded
from tests.fixtures.pipelines import connected, run
from tests.fixtures.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


def test_commands_of_one_tick_are_read_by_redis_in_one_piece(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline) -> None:
        def reads() -> int:
            with server.client() as client:
                return int(client.info("stats")["total_reads_processed"])

        before, own = reads(), reads()
        echoes = [pipeline.send((b"ECHO", b"%d" % n)) for n in range(100)]
        assert await asyncio.gather(*echoes) == [b"%d" % n for n in range(100)]
        assert reads() - own == (own - before) + 1

    run(server.url, use)


def test_a_cancelled_caller_shifts_nobodys_reply(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline) -> None:
        rng = random.Random(5)
        for _ in range(20):
            echoes = {n: pipeline.send((b"ECHO", b"%d" % n)) for n in range(200)}
            await asyncio.sleep(0)
            for n in rng.sample(range(200), 80):
                echoes[n].cancel()
            await asyncio.sleep(0)
            for n, echo in echoes.items():
                if not echo.cancelled():
                    assert await echo == b"%d" % n

    run(server.url, use)


def test_false_null_and_push_differ_from_no_reply(server: RedisServer) -> None:
    pushed: list[Any] = []

    async def use(pipeline: RedisPipeline) -> None:
        false = pipeline.send((b"DEBUG", b"PROTOCOL", b"false"))
        null = pipeline.send((b"GET", b"no such key"))
        push = pipeline.send((b"CLIENT", b"TRACKING", b"ON", b"BCAST"))
        number = pipeline.send((b"DEBUG", b"PROTOCOL", b"double"))
        changed = pipeline.send((b"SET", b"watched", b"1"))
        assert await false is False
        assert await null is None
        assert await push == b"OK"
        assert await number == pytest.approx(3.14159265)
        assert await changed == b"OK"
        assert await pipeline.send((b"ECHO", b"after the push")) == b"after the push"
        assert pushed == [[b"invalidate", [b"watched"]]]

    run(server.url, use, on_push=pushed.append)


def test_a_failing_callback_does_not_affect_later_replies(server: RedisServer) -> None:
    seen: list[Any] = []
    reported: list[Any] = []

    def faulty(reply: Any) -> None:
        raise RuntimeError(reply)

    async def use(pipeline: RedisPipeline) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        pipeline.send_callback((b"ECHO", b"1"), faulty)
        pipeline.send_callback((b"ECHO", b"2"), seen.append)
        assert await pipeline.send((b"ECHO", b"3")) == b"3"
        assert seen == [b"2"]
        assert [str(error) for error in reported] == ["b'1'"]

    run(server.url, use)


def test_commands_of_before_write_are_part_of_the_write(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline) -> None:
        tick = pipeline.tick
        first = pipeline.send((b"ECHO", b"1"))
        second: list[asyncio.Future[Any]] = []
        pipeline.before_write(lambda: second.append(pipeline.send((b"ECHO", b"2"))))
        assert pipeline.tick == tick
        assert await first == b"1"
        assert pipeline.tick == tick + 1
        assert await second[0] == b"2"

    run(server.url, use)


def test_more_commands_than_the_bound_are_refused_and_the_others_answered(
    server: RedisServer,
) -> None:
    async def use(pipeline: RedisPipeline) -> None:
        taken = [pipeline.send((b"ECHO", b"%d" % n)) for n in range(10)]
        with pytest.raises(Overloaded):
            pipeline.send((b"ECHO", b"one too many"))
        assert await asyncio.gather(*taken) == [b"%d" % n for n in range(10)]
        assert await pipeline.send((b"ECHO", b"room again")) == b"room again"

    run(server.url, use, max_in_flight=10)


def test_scripts_that_redis_forgot_run_in_the_order_of_their_calls(server: RedisServer) -> None:
    push = Script(b"return redis.call('RPUSH', KEYS[1], ARGV[1])")
    push_too = Script(b"redis.call('RPUSH', KEYS[1], ARGV[1]) return false")

    async def use(pipeline: RedisPipeline) -> None:
        await pipeline.send((b"SCRIPT", b"FLUSH"))
        calls = [
            pipeline.run_future(push if n % 2 else push_too, (b"order",), (b"%d" % n,))
            for n in range(6)
        ]
        assert await asyncio.gather(*calls) == [None, 2, None, 4, None, 6]
        order = await pipeline.send((b"LRANGE", b"order", b"0", b"-1"))
        assert order == [b"%d" % n for n in range(6)]
        await pipeline.send((b"DEL", b"order"))

    run(server.url, use)


def test_scripts_are_loaded_before_a_connection_counts(server: RedisServer) -> None:
    script = Script(b"return ARGV[1] .. '!'")

    async def use(pipeline: RedisPipeline) -> None:
        assert await pipeline.send((b"SCRIPT", b"EXISTS", script.sha1)) == [1]

    run(server.url, use, scripts=[script])


def test_on_connect_comes_first_and_its_failure_is_no_connection(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline) -> None:
        assert await pipeline.send((b"GETDEL", b"greeted")) == b"yes"

    run(server.url, use, on_connect=[(b"SET", b"greeted", b"yes")])

    async def refused() -> None:
        async with connected(server.url, on_connect=[(b"NONSENSE",)]) as pipeline:
            assert not pipeline.available
            with pytest.raises(CacheUnavailable):
                pipeline.send((b"PING",))

    uvloop.run(refused())
