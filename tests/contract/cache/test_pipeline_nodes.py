"""How the pipeline reaches a Redis node, and what it makes of one that cannot serve."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hiredis import ReplyError

from service.cache.connection import failure
from service.cache.pipeline import RedisPipeline, Script
from service.flow.breaker import State
from service.model.errors import CacheUnavailable
from tests.fixtures.certificates import self_signed
from tests.fixtures.pipelines import connected, run
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(port=free_port()) as running:
        yield running


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_tcp_a_database_number_and_both_loops(server: RedisServer, runner: Any) -> None:
    async def body() -> None:
        url = f"redis://127.0.0.1:{server.port}/3"
        async with connected(url) as pipeline:
            await pipeline.send((b"SET", b"where", b"3"))
            large = b"x" * 3_000_000
            assert await pipeline.send((b"ECHO", large)) == large
            assert b" db=3 " in await pipeline.send((b"CLIENT", b"LIST"))
            await pipeline.send((b"DEL", b"where"))

    runner(body())


def test_a_server_without_hello_is_spoken_to_in_resp2() -> None:
    with redis_server("--rename-command", "HELLO", "", "--requirepass", "s3cret") as old:

        async def use(pipeline: RedisPipeline) -> None:
            assert await pipeline.send((b"CONFIG", b"GET", b"maxmemory")) == [b"maxmemory", b"0"]
            assert await pipeline.send((b"GET", b"no such key")) is None

        run(old.url.replace("unix://", "unix://:s3cret@"), use)


def test_user_and_password_and_no_secret_in_errors() -> None:
    acl = ("--user", "default", "off", "--user", "shelf", "on", ">p@ss:w/rd", "~*", "+@all")
    with redis_server(*acl) as guarded:

        async def use(pipeline: RedisPipeline) -> None:
            assert await pipeline.send((b"ACL", b"WHOAMI")) == b"shelf"

        run(guarded.url.replace("unix://", "unix://shelf:p%40ss%3Aw%2Frd@"), use)

        async def refused(credentials: str) -> None:
            url = guarded.url.replace("unix://", f"unix://{credentials}")
            async with connected(url) as pipeline:
                assert not pipeline.available
                with pytest.raises(CacheUnavailable) as caught:
                    pipeline.send((b"PING",))
                assert "wr0ng" not in repr(caught.value)

        uvloop.run(refused("shelf:wr0ng@"))
        uvloop.run(refused(""))


def test_tls_is_verified_and_works(server: RedisServer, tmp_path: Path) -> None:
    port = free_port()
    certificate, key = self_signed(tmp_path)

    async def body() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        gate = await asyncio.start_server(_forward_to(server), "127.0.0.1", port, ssl=context)
        async with gate:
            url = f"rediss://127.0.0.1:{port}"
            async with connected(f"{url}?ssl_ca_certs={certificate}") as pipeline:
                large = b"x" * 1_000_000
                assert await pipeline.send((b"ECHO", large)) == large
            async with connected(f"{url}?ssl_cert_reqs=none") as pipeline:
                assert await pipeline.send((b"ECHO", b"unverified")) == b"unverified"
            async with connected(url) as pipeline:
                assert not pipeline.available

    asyncio.run(body())


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://", "unix://", "redis://h/x"])
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="Redis"):
        RedisPipeline(url)


SCRIPT = Script(b"return redis.call('SET', KEYS[1], ARGV[1])")


@pytest.mark.parametrize("by_script", [False, True])
def test_a_full_redis_is_left_until_it_takes_writes_again(by_script: bool) -> None:
    """Its entries could be outdated, because invalidations cannot reach it."""
    told: list[State] = []
    with redis_server("--maxmemory-policy", "noeviction") as full:

        async def use(pipeline: RedisPipeline) -> None:
            assert await pipeline.send((b"SET", b"k", b"v")) == b"OK"
            with full.client() as client:
                client.config_set("maxmemory", 1)
            assert await pipeline.send((b"GET", b"k")) == b"v"
            by_itself = partial(pipeline.send, (b"SET", b"k", b"v"))
            refused = partial(pipeline.run_future, SCRIPT, (b"k",), (b"v",))
            with pytest.raises(CacheUnavailable) as caught:
                await (refused if by_script else by_itself)()
            assert caught.value.redis_error == "OOM"
            assert not pipeline.available
            assert pipeline.breaker.state is State.OPEN
            assert pipeline.refusal == "OOM"
            with full.client() as client:
                client.config_set("maxmemory", 0)
            await _until(lambda: pipeline.available)
            assert await pipeline.send((b"SET", b"k", b"v")) == b"OK"

        run(full.url, use, on_breaker=told.append)
    assert told[0] is State.OPEN
    assert told[-2:] == [State.HALF_OPEN, State.CLOSED]


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to that")


@pytest.mark.parametrize(
    ("option", "command", "word"),
    [
        ("yes", (b"SET", b"k", b"v"), "READONLY"),
        ("no", (b"GET", b"k"), "MASTERDOWN"),
    ],
)
def test_a_node_that_lost_its_role_is_left(
    option: str, command: tuple[bytes, ...], word: str
) -> None:
    with redis_server("--replica-serve-stale-data", option) as demoted:

        async def use(pipeline: RedisPipeline) -> None:
            with demoted.client() as client:
                client.replicaof("127.0.0.1", str(free_port()))
            with pytest.raises(CacheUnavailable) as caught:
                await pipeline.send(command)
            assert caught.value.redis_error == word
            assert not pipeline.available

        run(demoted.url, use)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("NOAUTH Authentication required.", "NOAUTH"),
        ("ERR unknown command", "ERR"),
        ("OOM command not allowed, script: 0fc9, on @user_script:1.", "OOM"),
        (
            "ERR Error running script (call to f_0fc9): @user_script:1: "
            "@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            "OOM",
        ),
    ],
)
def test_error_replies_keep_their_word(text: str, word: str) -> None:
    error = failure(ReplyError(text))
    assert (error.code, error.redis_error) == ("cache-unavailable", word)
    assert str(error.__cause__) == text


def _forward_to(
    server: RedisServer,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(server.socket))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    return forward
