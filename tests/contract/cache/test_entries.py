"""Items in Redis: what each script does and refuses, against a real Redis."""

import asyncio
import random
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.cache import layout
from service.cache.entries import PROBE, SCRIPTS, Entries
from service.cache.layout import ABSENT, FILL_LEASE, INVALIDATION, ITEM, TOMBSTONE, ItemEntry
from service.cache.pipeline import RedisPipeline
from tests.fixtures.entries import EPOCH, ITEM_ID, KEY, entry, item
from tests.fixtures.pipelines import run
from tests.fixtures.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


def use_entries(
    server: RedisServer,
    use: Callable[[RedisPipeline, Entries], Awaitable[None]],
    **options: Any,
) -> None:
    """Without an item, whichever tests ran before."""

    async def body(pipeline: RedisPipeline) -> None:
        pipeline.run_name = b""  # fixed names of keys
        await pipeline.send((b"DEL", KEY))
        await use(pipeline, Entries(pipeline, **options))

    run(server.url, body, scripts=SCRIPTS, probe=PROBE)


async def filled(entries: Entries, value: bytes) -> None:
    lease = layout.new_fill_lease(EPOCH)
    assert await entries.acquire_lease(ITEM_ID, lease, None) is True
    assert await entries.fill(ITEM_ID, lease, value)


def test_only_a_fill_lease_or_invalidation_leads_to_an_entry(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        mine, others = layout.new_fill_lease(EPOCH), layout.new_fill_lease(EPOCH)
        assert await entries.acquire_lease(ITEM_ID, mine, None) is True
        assert await entries.acquire_lease(ITEM_ID, others, None) == mine
        assert not await entries.fill(ITEM_ID, others, entry(1))
        assert await entries.fill(ITEM_ID, mine, entry(1))
        assert not await entries.fill(ITEM_ID, mine, entry(2))
        assert await pipeline.send((b"GET", KEY)) == entry(1)
        # Evicted in between: the lease is gone, and so is the right to fill.
        await pipeline.send((b"DEL", KEY))
        assert not await entries.fill(ITEM_ID, mine, entry(1))
        assert await entries.acquire_lease(ITEM_ID, others, entry(1)) is None
        with pytest.raises(AssertionError):
            await entries.fill(ITEM_ID, entry(1), entry(2))

    use_entries(server, use)


def test_of_many_fills_at_once_one_is_stored(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        for _ in range(50):
            await entries.invalidate(ITEM_ID, EPOCH, 1)
            met = await pipeline.send((b"GET", KEY))
            fills = [entries.fill(ITEM_ID, met, entry(version)) for version in range(1, 9)]
            stored = await asyncio.gather(*fills)
            assert sum(stored) == 1
            assert await pipeline.send((b"GET", KEY)) == entry(stored.index(True) + 1)
            await pipeline.send((b"DEL", KEY))

    use_entries(server, use)


def test_an_invalidation_ends_every_fill_that_began_before_it(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        lease = layout.new_fill_lease(EPOCH)
        await entries.acquire_lease(ITEM_ID, lease, None)
        await entries.invalidate(ITEM_ID, EPOCH, 2)
        assert not await entries.fill(ITEM_ID, lease, entry(1))
        first = await pipeline.send((b"GET", KEY))
        assert layout.kind_of(first, EPOCH) == INVALIDATION
        # The same write invalidated again, as a relay does, is another invalidation.
        await entries.invalidate(ITEM_ID, EPOCH, 2)
        second = await pipeline.send((b"GET", KEY))
        assert layout.stamp_of(second) == layout.stamp_of(first)
        assert not await entries.fill(ITEM_ID, first, entry(2))
        assert not await entries.fill(ITEM_ID, second, entry(1)), "older than the invalidation"
        assert await entries.fill(ITEM_ID, second, entry(2))

    use_entries(server, use)


@pytest.mark.parametrize(
    ("there", "invalidated", "stays"),
    [
        ((1, 5), (1, 5), True),
        ((1, 6), (1, 5), True),
        ((1, 4), (1, 5), False),
        ((2, 1), (1, 5), True),
        ((1, 9), (2, 5), False),
        ((1, (1 << 53) + 1), (1, (1 << 53) + 1), True),
        ((1, 1 << 53), (1, (1 << 53) + 1), False),
        ((1, (1 << 63) - 1), (1, (1 << 63) - 2), True),
        ((1, 255), (1, 256), False),
        ((1, 1 << 32), (1, (1 << 32) - 1), True),
    ],
)
def test_an_invalidation_replaces_exactly_older_entries_and_lowers_no_stamp(
    server: RedisServer, there: tuple[int, int], invalidated: tuple[int, int], stays: bool
) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        for kind in (ITEM, TOMBSTONE, ABSENT, INVALIDATION, FILL_LEASE):
            value = there[0].to_bytes(4) + there[1].to_bytes(8) + bytes([kind]) + b"rest"
            await pipeline.send((b"SET", KEY, value))
            await entries.invalidate(ITEM_ID, *invalidated)
            now_there = await pipeline.send((b"GET", KEY))
            if stays and kind in (ITEM, TOMBSTONE, ABSENT):
                assert now_there == value
                continue
            stamp = there if stays and kind == INVALIDATION else invalidated
            assert layout.stamp_of(now_there) == layout.stamp_of(layout.new_invalidation(*stamp))
            assert layout.kind_of(now_there, 0) == INVALIDATION
            assert now_there != value

    use_entries(server, use)


def test_ttls_are_those_of_the_kind(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        async def ttl_ms() -> int:
            return int(await pipeline.send((b"PTTL", KEY)))

        await entries.invalidate(ITEM_ID, EPOCH, 1)
        assert 29_000 < await ttl_ms() <= 30_000
        invalidation = await pipeline.send((b"GET", KEY))
        await entries.fill(ITEM_ID, invalidation, entry(1))
        assert 3_599_000 < await ttl_ms() <= 3_600_000
        for missing in (layout.encode_missing(EPOCH, None), layout.encode_missing(EPOCH, item(4))):
            await pipeline.send((b"DEL", KEY))
            lease = layout.new_fill_lease(EPOCH)
            await entries.acquire_lease(ITEM_ID, lease, None)
            assert 9_000 < await ttl_ms() <= 10_000
            await entries.fill(ITEM_ID, lease, missing)
            assert 4_000 < await ttl_ms() <= 5_000

    use_entries(server, use)


def test_a_large_value_releases_a_lease_and_leaves_an_invalidation(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        lease = layout.new_fill_lease(EPOCH)
        await entries.acquire_lease(ITEM_ID, lease, None)
        assert not await entries.fill(ITEM_ID, lease, entry(1))
        assert await pipeline.send((b"GET", KEY)) is None
        await entries.invalidate(ITEM_ID, EPOCH, 1)
        invalidation = await pipeline.send((b"GET", KEY))
        assert not await entries.fill(ITEM_ID, invalidation, entry(1))
        assert await pipeline.send((b"GET", KEY)) == invalidation

    use_entries(server, use, max_bytes=len(entry(1)) - 1)


def test_a_value_of_an_old_epoch_is_replaced_by_a_fill_lease_and_refilled(
    server: RedisServer,
) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        await filled(entries, entry(7))
        epoch = layout.epoch_of(1, 2)
        lease = layout.new_fill_lease(epoch)
        assert await entries.acquire_lease(ITEM_ID, lease, entry(7)) is True
        # Version 7 was lost in the failover: version 6 of the new history wins over it.
        assert not await entries.fill(ITEM_ID, lease, entry(6))
        assert await entries.fill(ITEM_ID, lease, entry(6, epoch))
        await entries.invalidate(ITEM_ID, EPOCH, 8)
        assert await pipeline.send((b"GET", KEY)) == entry(6, epoch)

    use_entries(server, use)


def test_reading_extends_a_ttl_rarely_and_never_beyond_the_greatest_age(
    server: RedisServer,
) -> None:
    now = int(time.time())
    clock = [float(now)]

    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        async def ttl_after_a_read(age_s: int) -> int:
            value = entry(1, born_s=now - age_s)
            await pipeline.send((b"SET", KEY, value, b"PX", b"60000"))
            entries.slide(ITEM_ID, ItemEntry(value))
            return int(await pipeline.send((b"PTTL", KEY)))

        assert await ttl_after_a_read(599) <= 60_000
        assert await ttl_after_a_read(601) > 3_590_000
        assert await ttl_after_a_read(601) <= 60_000, "extended a moment ago"
        clock[0] += 540
        assert await ttl_after_a_read(601) <= 60_000
        clock[0] += 70
        assert 100_000 < await ttl_after_a_read(86_400 - 120) <= 121_000
        clock[0] += 610
        assert await ttl_after_a_read(86_401) <= 60_000

    use_entries(server, use, clock=lambda: clock[0])


def test_only_the_entry_that_was_read_is_extended(server: RedisServer) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        read = ItemEntry(entry(1, born_s=0))
        for there in (entry(1, born_s=1), entry(2, born_s=0), layout.new_invalidation(EPOCH, 1)):
            await pipeline.send((b"SET", KEY, there, b"PX", b"60000"))
            Entries(pipeline).slide(ITEM_ID, read)
            assert await pipeline.send((b"PTTL", KEY)) <= 60_000
            await pipeline.send((b"DEL", KEY))
        Entries(pipeline).slide(ITEM_ID, read)
        assert await pipeline.send((b"GET", KEY)) is None

    use_entries(server, use)


@pytest.mark.parametrize("kind", ["list", "hash", "rubbish"])
def test_a_foreign_value_under_a_key_is_a_miss_and_is_replaced(
    server: RedisServer, kind: str
) -> None:
    async def use(pipeline: RedisPipeline, entries: Entries) -> None:
        async def spoil() -> Any:
            await pipeline.send((b"DEL", KEY))
            words = {"list": b"RPUSH", "hash": b"HSET", "rubbish": b"SET"}
            await pipeline.send((words[kind], KEY, b"one", b"two")[: 3 if kind == "rubbish" else 4])
            there = await entries.get_again(ITEM_ID)
            assert there is None or layout.kind_of(there, EPOCH) == 0
            return there

        lease = layout.new_fill_lease(EPOCH)
        assert await entries.acquire_lease(ITEM_ID, lease, await spoil()) is True
        assert await entries.fill(ITEM_ID, lease, entry(1))
        await spoil()
        await entries.invalidate(ITEM_ID, EPOCH, 2)
        assert layout.kind_of(await pipeline.send((b"GET", KEY)), EPOCH) == INVALIDATION
        await spoil()
        entries.slide(ITEM_ID, ItemEntry(entry(1, born_s=0)))
        assert await pipeline.send((b"EXISTS", KEY)) == 1
        assert pipeline.available

    use_entries(server, use)


def test_versions_compare_as_numbers_under_a_locale_that_sorts_otherwise(tmp_path: Path) -> None:
    compiled = ["localedef", "-i", "en_US", "-f", "UTF-8", str(tmp_path / "en_US.UTF-8")]
    try:
        subprocess.run(compiled, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system cannot compile locales")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(tmp_path))
        patch.setenv("LC_ALL", "en_US.UTF-8")
        with redis_server() as there:
            use_entries(there, _invalidate_neighbouring_versions)


async def _invalidate_neighbouring_versions(pipeline: RedisPipeline, entries: Entries) -> None:
    rng = random.Random(3)
    misleading = 0
    for _ in range(200):
        older = rng.randrange(1, 1 << rng.choice([8, 16, 40]))
        value = layout.encode_missing(EPOCH, item(older))
        await pipeline.send((b"SET", KEY, value))
        await entries.invalidate(ITEM_ID, EPOCH, older + 1)
        assert layout.kind_of(await pipeline.send((b"GET", KEY)), EPOCH) == INVALIDATION
        newer = layout.encode_missing(EPOCH, item(older + 1))
        await pipeline.send((b"SET", KEY, newer))
        await entries.invalidate(ITEM_ID, EPOCH, older)
        assert await pipeline.send((b"GET", KEY)) == newer
        lua = b"return ARGV[1] < ARGV[2] and 1 or 0"
        misleading += not await pipeline.send((b"EVAL", lua, b"0", value[:12], newer[:12]))
    assert misleading > 20, "under this locale a comparison of bytes would have passed too"
