"""The pipeline while Redis hangs, dies and comes back."""

import asyncio
import signal
from contextlib import suppress
from typing import Any

import pytest
import uvloop

from service.cache.pipeline import RedisPipeline
from service.flow.breaker import State
from service.model.errors import CacheUnavailable
from tests.fixtures.pipelines import connected
from tests.fixtures.redis_server import RedisServer, redis_server

ATTEMPTS = 2_000
# Keeps Redis busy for 0.42 s.
SLOW_SCRIPT = b"""
local function now() local t = redis.call('TIME') return t[1] * 1e6 + t[2] end
local until_ = now() + 420000
while now() < until_ do end
"""


async def until_available(pipeline: RedisPipeline) -> None:
    for _ in range(ATTEMPTS):
        if pipeline.available:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the pipeline never came back")


async def echo_through_outage(pipeline: RedisPipeline, break_it: Any, mend_it: Any) -> None:
    """Send commands before, during and after; every answer belongs to its command."""
    failed = 0
    mended = False
    answered_since = 0
    for n in range(ATTEMPTS):
        if n == 50:
            break_it()
        if failed > 20 and not mended:
            assert not pipeline.available
            mend_it()
            mended = True
        try:
            assert await pipeline.send((b"ECHO", b"%d" % n)) == b"%d" % n
            answered_since += mended
        except CacheUnavailable:
            failed += 1
            await asyncio.sleep(0.01)
        if answered_since == 200:
            return
    pytest.fail(f"only {answered_since} answers after the outage, {failed} failures")


def test_a_hung_redis_costs_one_deadline_and_late_replies_are_dropped() -> None:
    with redis_server() as server:

        async def body() -> None:
            async with connected(server.url, timeout_s=0.1) as pipeline:
                await echo_through_outage(
                    pipeline,
                    lambda: server.signal(signal.SIGSTOP),
                    lambda: server.signal(signal.SIGCONT),
                )

        uvloop.run(body())


def test_everything_in_flight_fails_together_and_then_asking_fails_at_once() -> None:
    with redis_server() as server:

        async def body() -> None:
            async with connected(server.url, timeout_s=0.1) as pipeline:
                server.signal(signal.SIGSTOP)
                late = [pipeline.send((b"INCR", b"n")) for _ in range(5)]
                await asyncio.sleep(0)
                late += [pipeline.send((b"INCR", b"n")) for _ in range(5)]
                outcomes = await asyncio.gather(*late, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {CacheUnavailable}
                assert not pipeline.available
                with pytest.raises(CacheUnavailable):
                    pipeline.send((b"PING",))
                server.signal(signal.SIGCONT)
                await until_available(pipeline)
                # The failed commands may have run all the same.
                assert await pipeline.send((b"ECHO", b"mine")) == b"mine"

        uvloop.run(body())


def test_a_killed_redis_is_found_again_after_its_restart() -> None:
    with redis_server() as server:
        states: list[bool] = []

        async def body() -> None:
            async with connected(server.url, timeout_s=0.5, on_state=states.append) as pipeline:
                await echo_through_outage(pipeline, server.kill, server.start)

        uvloop.run(body())
        assert states == [True, False, True, False]


@pytest.mark.parametrize("how", ["stopped", "gone"])
def test_starting_without_redis_succeeds_and_finds_it_later(how: str) -> None:
    with redis_server() as server:
        _take_away(server, how)

        async def body() -> None:
            async with connected(server.url, timeout_s=0.1) as pipeline:
                assert not pipeline.available
                _bring_back(server, how)
                await until_available(pipeline)
                assert await pipeline.send((b"ECHO", b"hello")) == b"hello"

        uvloop.run(body())


def test_slow_replies_open_the_breaker_though_each_is_in_time() -> None:
    """Then asking fails at once, until a probe is answered quickly."""
    with redis_server() as server:
        told: list[State] = []

        async def body() -> None:
            async with connected(server.url, timeout_s=0.5, on_breaker=told.append) as pipeline:
                with server.client() as client:
                    while pipeline.available:
                        reply = pipeline.send((b"EVAL", SLOW_SCRIPT, b"0"))
                        with suppress(CacheUnavailable):
                            await reply
                    assert told == [State.OPEN]
                    with pytest.raises(CacheUnavailable):
                        pipeline.send((b"PING",))
                    client.ping()
                await until_available(pipeline)
                assert pipeline.breaker.openings == 1
                assert told == [State.OPEN, State.HALF_OPEN, State.CLOSED]

        uvloop.run(body())


def test_closing_with_commands_unanswered_fails_them() -> None:
    with redis_server() as server:

        async def body() -> None:
            async with connected(server.url, timeout_s=5) as pipeline:
                server.signal(signal.SIGSTOP)
                written = pipeline.send((b"PING",))
                await asyncio.sleep(0)
                gathered = pipeline.send((b"PING",))
                await pipeline.close()
                outcomes = await asyncio.gather(written, gathered, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {CacheUnavailable}

        uvloop.run(body())


def _take_away(server: RedisServer, how: str) -> None:
    if how == "stopped":
        server.signal(signal.SIGSTOP)
    else:
        server.kill()


def _bring_back(server: RedisServer, how: str) -> None:
    if how == "stopped":
        server.signal(signal.SIGCONT)
    else:
        server.start()
