"""A Redis that comes back with data of before (from a dump, or as a promoted replica) or without
some of them; and whoever else has keys in it loses none of them."""

import time
from typing import Any

import redis

from service.cache import layout
from service.cache.entries import PROBE, SCRIPTS, Entries
from service.cache.pipeline import RedisPipeline
from tests.fixtures.entries import EPOCH, ITEM_ID, entry
from tests.fixtures.pipelines import run
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer, redis_server

FOREIGN = {b"session:42": b"a", b"item:of another": b"b"}


async def fill_version_1(pipeline: RedisPipeline) -> None:
    lease = layout.new_fill_lease(EPOCH)
    await Entries(pipeline).acquire_lease(ITEM_ID, lease, None)
    assert await Entries(pipeline).fill(ITEM_ID, lease, entry(1))


async def is_cold(pipeline: RedisPipeline) -> None:
    assert await Entries(pipeline).get_again(ITEM_ID) is None


async def is_warm(pipeline: RedisPipeline) -> None:
    assert await Entries(pipeline).get_again(ITEM_ID) == entry(1)


def test_a_restart_from_a_dump_is_cold_and_leaves_the_keys_of_others() -> None:
    with redis_server() as server:
        with server.client() as client:
            client.mset(FOREIGN)
        run(server.url, fill_version_1, scripts=SCRIPTS, probe=PROBE)
        with server.client() as client:
            client.save()
        server.kill()
        server.start()
        with server.client() as client:
            assert any(value == entry(1) for value in _values(client)), "the dump was loaded"
        run(server.url, is_cold, scripts=SCRIPTS, probe=PROBE)
        with server.client() as client:
            assert client.mget(FOREIGN) == list(FOREIGN.values())


def test_a_promoted_replica_is_cold() -> None:
    port = free_port()
    with redis_server(port=port) as first, redis_server() as second:
        run(first.url, fill_version_1)
        with second.client() as client:
            client.replicaof("127.0.0.1", str(port))
            _wait_for_copy(second)
            client.replicaof("NO", "ONE")
        run(second.url, is_cold)


def test_a_new_connection_to_the_same_run_keeps_entries() -> None:
    """Whatever else was evicted: nothing that a worker must find there says that it is the same."""
    with redis_server() as server:
        run(server.url, fill_version_1)
        with server.client() as client:
            for key in client.scan_iter():
                if not key.startswith(b"item:"):
                    client.delete(key)
        run(server.url, is_warm)


def _values(client: redis.Redis) -> list[Any]:
    return client.mget(client.keys())


def _wait_for_copy(replica: RedisServer) -> None:
    with replica.client() as client:
        for _ in range(3000):
            if client.keys():
                return
            time.sleep(0.01)
    raise AssertionError("the replica was not given the data")
