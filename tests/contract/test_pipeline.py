"""What the Redis pipeline promises, against a real Redis."""

import asyncio
import random
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hiredis import ReplyError

from service.cache.connection import failure
from service.cache.pipeline import RedisPipeline, Script
from service.model.errors import CacheUnavailable, Overloaded
from tests.fixtures.redis_server import RedisServer, redis_server
from tests.fixtures.running import free_port


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(port=free_port()) as running:
        yield running


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[RedisPipeline]:
    pipeline = RedisPipeline(url, timeout_s=2.0, **options)
    await pipeline.open()
    try:
        yield pipeline
    finally:
        await pipeline.close()


def run(url: str, use: Callable[[RedisPipeline], Awaitable[None]], **options: Any) -> None:
    async def body() -> None:
        async with connected(url, **options) as pipeline:
            assert pipeline.available
            await use(pipeline)

    uvloop.run(body())


def test_commands_of_one_tick_are_read_by_redis_in_one_piece(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline) -> None:
        def reads() -> int:
            with server.client() as client:
                return int(client.info("stats")["total_reads_processed"])  # type: ignore[index]

        before, own = reads(), reads()
        echoes = [pipeline.send((b"ECHO", b"%d" % n)) for n in range(100)]
        assert await asyncio.gather(*echoes) == [b"%d" % n for n in range(100)]
        assert reads() - own == (own - before) + 1

    run(server.url, use)


def test_a_cancelled_caller_shifts_nobodys_reply(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline) -> None:
        dice = random.Random(5)
        for _ in range(20):
            echoes = {n: pipeline.send((b"ECHO", b"%d" % n)) for n in range(200)}
            await asyncio.sleep(0)
            for n in dice.sample(range(200), 80):
                echoes[n].cancel()
            await asyncio.sleep(0)
            for n, echo in echoes.items():
                if not echo.cancelled():
                    assert await echo == b"%d" % n

    run(server.url, use)


def test_false_null_and_push_are_told_apart_from_no_reply_yet(server: RedisServer) -> None:
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


def test_a_callback_that_fails_leaves_the_replies_behind_it_in_place(server: RedisServer) -> None:
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


def test_what_is_prepared_before_the_write_goes_with_it(server: RedisServer) -> None:
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


def test_user_and_password_and_no_secret_in_what_fails() -> None:
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
    certificate, key = _self_signed(tmp_path)

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


def test_a_full_redis_is_a_failure_of_the_dependency_also_inside_scripts() -> None:
    with redis_server("--maxmemory", "2mb", "--maxmemory-policy", "noeviction") as full:
        script = Script(b"return redis.call('SET', KEYS[1], ARGV[1])")

        async def use(pipeline: RedisPipeline) -> None:
            fillers = [pipeline.send((b"SET", b"filler:%d" % n, b"x" * 100_000)) for n in range(40)]
            outcomes = await asyncio.gather(*fillers, return_exceptions=True)
            assert isinstance(outcomes[-1], CacheUnavailable)
            assert outcomes[-1].redis_error == "OOM"
            with pytest.raises(CacheUnavailable) as caught:
                await pipeline.run_future(script, (b"k",), (b"v" * 200_000,))
            assert caught.value.redis_error == "OOM"
            assert await pipeline.send((b"GET", b"filler:0")) == b"x" * 100_000
            assert pipeline.available

        run(full.url, use)


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
    assert error.redis_error == word
    assert str(error.__cause__) == text


def _self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


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
