"""One suite for the promises that the near cache and the entries in Redis share.

A read that began before a change stores nothing after it; what is stored comes back as it was
until a change or the loss of what the store relies on; then it is not there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
import uvloop

from service.cache import layout
from service.cache.entries import CHANNEL, SCRIPTS, Entries
from service.cache.layout import INVALIDATION, ITEM
from service.cache.near import NearCache
from service.cache.pipeline import RedisPipeline
from service.cache.subscription import Subscription
from tests.fixtures.entries import EPOCH, entry
from tests.fixtures.pipelines import connected
from tests.fixtures.redis_server import RedisServer, redis_server

IDS = [bytes([n]) * 16 for n in range(4)]


class Store(Protocol):
    """A cache as both kinds of it are used: a read begins, then it stores what it found."""

    async def begin(self, item_id: bytes) -> Any: ...
    async def end(self, item_id: bytes, begun: Any, version: int) -> bool: ...
    async def change(self, item_id: bytes, version: int) -> None: ...
    async def get(self, item_id: bytes) -> int | None: ...
    async def lose(self) -> None: ...


class RedisStore:
    def __init__(self, pipeline: RedisPipeline) -> None:
        self._pipeline = pipeline
        self._pipeline.run_name = b""  # fixed names of keys
        self._entries = Entries(pipeline)

    async def begin(self, item_id: bytes) -> bytes:
        there = await self._pipeline.send((b"GET", b"item:" + item_id))
        if there is not None and layout.kind_of(there, EPOCH) == INVALIDATION:
            return bytes(there)
        lease = layout.new_fill_lease(EPOCH)
        await self._entries.acquire_lease(item_id, lease, there)
        return lease

    async def end(self, item_id: bytes, begun: bytes, version: int) -> bool:
        return await self._entries.fill(item_id, begun, entry(version))

    async def change(self, item_id: bytes, version: int) -> None:
        await self._entries.invalidate(item_id, EPOCH, version)

    async def get(self, item_id: bytes) -> int | None:
        value = await self._pipeline.send((b"GET", b"item:" + item_id))
        if value is None or layout.kind_of(value, EPOCH) != ITEM:
            return None
        return layout.ItemEntry(value).version

    async def lose(self) -> None:
        await self._pipeline.send((b"FLUSHALL",))


class NearStore:
    """Its changes are real invalidations that arrive over a real subscription."""

    def __init__(self, url: str, pipeline: RedisPipeline) -> None:
        self._pipeline = pipeline
        self._entries = Entries(pipeline)
        self._near: NearCache[int] = NearCache(1 << 20)
        self._heard: asyncio.Queue[object] = asyncio.Queue()
        self._subscription = Subscription(url, CHANNEL, self._message, self._state)

    def _message(self, item_id: bytes) -> None:
        self._near.invalidate(item_id)
        self._heard.put_nowait(item_id)

    def _state(self, on: bool) -> None:
        self._near.subscribed(on)
        self._heard.put_nowait(on)

    async def open(self) -> None:
        await self._subscription.open()
        assert await self._heard.get() is True

    async def close(self) -> None:
        await self._subscription.close()

    async def begin(self, item_id: bytes) -> int:  # noqa: ARG002  # the suite's signature
        return self._near.ticket()

    async def end(self, item_id: bytes, begun: int, version: int) -> bool:
        return self._near.store(item_id, begun, version, 100)

    async def change(self, item_id: bytes, version: int) -> None:
        await self._entries.invalidate(item_id, EPOCH, version)
        assert await self._heard.get() == item_id

    async def get(self, item_id: bytes) -> int | None:
        return self._near.get(item_id)

    async def lose(self) -> None:
        await self._pipeline.send((b"CLIENT", b"KILL", b"TYPE", b"pubsub"))
        assert await self._heard.get() is False
        assert await self._heard.get() is True


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@asynccontextmanager
async def opened(kind: str, server: RedisServer) -> AsyncIterator[Store]:
    async with connected(server.url, scripts=SCRIPTS) as pipeline:
        await pipeline.send((b"FLUSHALL",))
        if kind == "redis":
            yield RedisStore(pipeline)
            return
        near = NearStore(server.url, pipeline)
        await near.open()
        try:
            yield near
        finally:
            await near.close()


Use = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["redis", "near"])
def run(request: pytest.FixtureRequest, server: RedisServer) -> Callable[[Use], None]:
    def run_on_a_store(use: Use) -> None:
        async def body() -> None:
            async with opened(request.param, server) as store:
                await asyncio.wait_for(use(store), 30)

        uvloop.run(body())

    return run_on_a_store


async def read(store: Store, item_id: bytes, version: int) -> bool:
    return await store.end(item_id, await store.begin(item_id), version)


def test_only_the_stored_representation_is_returned(run: Callable[[Use], None]) -> None:
    async def use(store: Store) -> None:
        assert await store.get(IDS[0]) is None
        for version, item_id in enumerate(IDS[:3], 1):
            assert await read(store, item_id, version)
        assert [await store.get(item_id) for item_id in IDS] == [1, 2, 3, None]

    run(use)


def test_a_change_invalidates_only_its_item(run: Callable[[Use], None]) -> None:
    async def use(store: Store) -> None:
        for item_id in IDS[:2]:
            await read(store, item_id, 1)
        await store.change(IDS[0], 2)
        assert await store.get(IDS[0]) is None
        assert await store.get(IDS[1]) == 1

    run(use)


def test_a_read_that_began_before_a_change_stores_nothing_after_it(
    run: Callable[[Use], None],
) -> None:
    async def use(store: Store) -> None:
        late, others = await store.begin(IDS[0]), await store.begin(IDS[1])
        await store.change(IDS[0], 2)
        assert not await store.end(IDS[0], late, 1)
        assert await store.get(IDS[0]) is None
        assert await store.end(IDS[1], others, 1)
        assert await read(store, IDS[0], 2)
        assert await store.get(IDS[0]) == 2

    run(use)


def test_after_a_loss_the_cache_is_empty_and_reads_in_flight_are_not_stored(
    run: Callable[[Use], None],
) -> None:
    async def use(store: Store) -> None:
        await read(store, IDS[0], 1)
        late = await store.begin(IDS[1])
        await store.lose()
        assert await store.get(IDS[0]) is None
        assert not await store.end(IDS[1], late, 1)
        assert await store.get(IDS[1]) is None
        assert await read(store, IDS[0], 1)
        assert await store.get(IDS[0]) == 1

    run(use)
