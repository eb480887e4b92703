"""A Redis that comes back with data of before: from a dump, or as a promoted replica."""

import time

from service.cache import layout
from service.cache.entries import ON_CONNECT, Entries
from service.cache.pipeline import RedisPipeline
from tests.fixtures.entries import EPOCH, ITEM_ID, KEY, entry
from tests.fixtures.pipelines import run
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer, redis_server


async def fill_version_1(pipeline: RedisPipeline) -> None:
    permit = layout.new_permit(EPOCH)
    await Entries(pipeline).place_permit(ITEM_ID, permit, None)
    assert await Entries(pipeline).fill(ITEM_ID, permit, entry(1))


async def is_cold(pipeline: RedisPipeline) -> None:
    assert await pipeline.send((b"GET", KEY)) is None


def test_a_restart_from_a_dump_is_cold() -> None:
    with redis_server() as server:
        run(server.url, fill_version_1, on_connect=ON_CONNECT)
        with server.client() as client:
            client.save()
        server.kill()
        server.start()
        with server.client() as client:
            assert client.get(KEY) == entry(1), "the dump was loaded"
        run(server.url, is_cold, on_connect=ON_CONNECT)


def test_a_promoted_replica_is_cold() -> None:
    port = free_port()
    with redis_server(port=port) as first, redis_server() as second:
        run(first.url, fill_version_1, on_connect=ON_CONNECT)
        with second.client() as client:
            client.replicaof("127.0.0.1", str(port))
            _wait_for_copy(second)
            client.replicaof("NO", "ONE")
        run(second.url, is_cold, on_connect=ON_CONNECT)


def test_a_new_connection_to_the_same_run_keeps_what_is_warm() -> None:
    async def is_warm(pipeline: RedisPipeline) -> None:
        assert await pipeline.send((b"GET", KEY)) == entry(1)

    with redis_server() as server:
        run(server.url, fill_version_1, on_connect=ON_CONNECT)
        run(server.url, is_warm, on_connect=ON_CONNECT)


def _wait_for_copy(replica: RedisServer) -> None:
    with replica.client() as client:
        for _ in range(3000):
            if client.get(KEY) is not None:
                return
            time.sleep(0.01)
    raise AssertionError("the replica was not given the data")
