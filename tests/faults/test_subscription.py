"""A subscription whose Redis hangs, dies or drops the connection: never silently deaf."""

import asyncio
import signal
from collections.abc import Callable

import pytest
import uvloop

from service.cache.subscription import Subscription
from tests.fixtures.pipelines import connected
from tests.fixtures.redis_server import RedisServer, redis_server

CHANNEL = b"news"


class Listener:
    """All notifications, in order."""

    def __init__(self, url: str) -> None:
        self.heard: asyncio.Queue[bytes | bool] = asyncio.Queue()
        put = self.heard.put_nowait
        self.subscription = Subscription(url, CHANNEL, put, put, ping_s=0.05, timeout_s=0.1)

    async def next(self) -> bytes | bool:
        return await asyncio.wait_for(self.heard.get(), 30)


async def publish(server: RedisServer, message: bytes) -> None:
    async with connected(server.url) as pipeline:
        assert await pipeline.send((b"PUBLISH", CHANNEL, message)) == 1


def restart(server: RedisServer) -> None:
    server.kill()
    server.start()


def hang(server: RedisServer) -> None:
    server.signal(signal.SIGSTOP)


def go_on(server: RedisServer) -> None:
    server.signal(signal.SIGCONT)


def drop(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def nothing(server: RedisServer) -> None:
    pass


@pytest.mark.parametrize(("harm", "mend"), [(hang, go_on), (restart, nothing), (drop, nothing)])
def test_a_lost_connection_is_reported_and_renewed(
    harm: Callable[[RedisServer], None], mend: Callable[[RedisServer], None]
) -> None:
    with redis_server() as server:

        async def body() -> None:
            listener = Listener(server.url)
            await listener.subscription.open()
            assert await listener.next() is True
            await publish(server, b"one")
            assert await listener.next() == b"one"
            harm(server)
            assert await listener.next() is False
            mend(server)
            assert await listener.next() is True
            await publish(server, b"two")
            assert await listener.next() == b"two"
            await listener.subscription.close()
            assert await listener.next() is False
            assert listener.heard.empty()

        uvloop.run(body())


def test_it_finds_a_redis_that_starts_later() -> None:
    with redis_server() as server:
        server.kill()

        async def body() -> None:
            listener = Listener(server.url)
            await listener.subscription.open()
            await asyncio.sleep(0)
            server.start()
            assert await listener.next() is True
            await listener.subscription.close()

        uvloop.run(body())


def test_messages_of_one_burst_all_arrive_in_order() -> None:
    with redis_server() as server:

        async def body() -> None:
            listener = Listener(server.url)
            await listener.subscription.open()
            assert await listener.next() is True
            async with connected(server.url) as pipeline:
                numbers = [b"%d" % n for n in range(5_000)]
                await asyncio.gather(*(pipeline.send((b"PUBLISH", CHANNEL, n)) for n in numbers))
            assert [await listener.next() for _ in numbers] == numbers
            await listener.subscription.close()

        uvloop.run(body())
