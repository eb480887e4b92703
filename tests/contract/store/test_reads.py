"""Reads by id from a primary and a replica: what is proved, what is batched, what is refused."""

import asyncio

import psycopg
import pytest

from service import native
from service.embedded import EmbeddedStack
from service.model.errors import Overloaded
from service.store import statements
from service.store.connection import conninfo
from service.store.reads import Reading, Reads
from service.store.shards import BucketMoved, Shard
from tests.fixtures.reading import (
    database,
    delete,
    pause,
    prepared,
    revive,
    run,
    update,
    wait_for_replica,
)
from tests.fixtures.stack import execute

UNKNOWN = bytes.fromhex("01234567890abcdef0123456789abcde")
WAYS = ["read_fresh", "read_any", "read_primary"]


def version(reading: Reading) -> int | None:
    return reading.item.version if reading.item else None


def calls(reads: Reads) -> tuple[int, int]:
    """How many queries the primary and the replica were sent in the last moments."""
    found = reads.statuses()
    return tuple(  # type: ignore[return-value]
        found[name].calls if name in found else 0 for name in ("shard-0/primary", "shard-0/node-1")
    )


@pytest.mark.parametrize("way", WAYS)
def test_every_read_distinguishes_items_tombstones_and_absence(
    small_stack: EmbeddedStack, way: str
) -> None:
    living, deleted, _ = prepared(small_stack)
    delete(small_stack, deleted)
    wait_for_replica(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        read = getattr(reads, way)
        found, tombstone, nothing = [await read(shard, i) for i in (living, deleted, UNKNOWN)]
        assert found.item.id == living
        assert (found.item.owner_id, found.item.version) == ("alice", 1)
        assert found.item.created_at == found.item.updated_at
        assert found.item.data == b'{"n": 1.10}'
        assert not found.missing
        assert tombstone.item.deleted
        assert tombstone.item.version == 2
        assert nothing.item is None
        assert tombstone.missing
        assert nothing.missing
        for reading in (found, tombstone, nothing):
            assert (reading.map_epoch, reading.timeline) == (1, 1)
            assert reading.proved is (reading.missing or way != "read_any")

    run(database(small_stack), use)


def test_reads_of_one_tick_are_one_question_to_each_server(small_stack: EmbeddedStack) -> None:
    ids = prepared(small_stack, 30)

    async def use(shard: Shard, reads: Reads) -> None:
        asked = [*ids, *ids, UNKNOWN]
        found = await asyncio.gather(*(reads.read_fresh(shard, i) for i in asked))
        assert [r.item.id if r.item else None for r in found] == [*ids, *ids, None]
        assert calls(reads) == (1, 1)
        await asyncio.gather(*(reads.read_any(shard, i) for i in ids))
        assert calls(reads) == (1, 2), "a position of a moment ago is good enough"
        await asyncio.gather(*(reads.read_primary(shard, i) for i in ids))
        assert calls(reads) == (2, 2)

    run(database(small_stack), use)


def test_a_replica_that_is_behind_proves_nothing(small_stack: EmbeddedStack) -> None:
    first, second, third = prepared(small_stack)
    delete(small_stack, third)

    async def use(shard: Shard, reads: Reads) -> None:
        # While it keeps up, it answers; also after this all that read_any needs to know is known.
        assert (await reads.read_fresh(shard, first)).proved
        pause(small_stack)
        update(small_stack, first)
        revive(small_stack, third)
        behind = await reads.read_any(shard, first)
        assert (version(behind), behind.proved) == (1, False)
        revived = await reads.read_any(shard, third)
        assert (version(revived), revived.missing, revived.proved) == (3, False, True)
        for read in (reads.read_fresh, reads.read_primary):
            reading = await read(shard, first)
            assert (version(reading), reading.proved) == (2, True)
        strict = Reads(database(small_stack), lag_s=0.0)
        assert version(await strict.read_any(shard, first)) == 2
        assert version(await strict.read_any(shard, second)) == 1

    run(database(small_stack), use)


def test_fresh_reads_see_every_write_that_was_committed_before(small_stack: EmbeddedStack) -> None:
    item_id, *_ = prepared(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        async with shard.primary() as connection:
            for expected in range(2, 152):
                await connection.execute("UPDATE items SET version = version + 1")
                reading = await reads.read_fresh(shard, item_id)
                assert (version(reading), reading.proved) == (expected, True)
        assert calls(reads)[1] > 0

    run(database(small_stack), use)


def test_a_replica_of_another_history_proves_nothing(small_stack: EmbeddedStack) -> None:
    item_id, *_ = prepared(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        node = shard.replicas[0]
        async with node.connection(reading=True) as connection:
            for timeline, proved in ((1, True), (2, False)):
                cursor = await connection.execute(
                    statements.HAS_REPLAYED.replace("%b", "%s"), ("0/1", timeline)
                )
                assert await cursor.fetchone() == (proved,)
        assert (await reads.read_fresh(shard, item_id)).proved

    run(database(small_stack), use)


@pytest.mark.parametrize("way", WAYS)
def test_no_row_means_nothing_where_the_bucket_is_not_owned(
    small_stack: EmbeddedStack, way: str
) -> None:
    ids = prepared(small_stack, 8)
    gone = native.bucket_of(ids[0], 4)
    primary = small_stack.shards[0][0]
    execute(primary, f"DELETE FROM owned_buckets WHERE bucket = {gone}")
    execute(primary, "UPDATE owned_buckets SET epoch = 7")
    execute(primary, f"ALTER TABLE items DETACH PARTITION items_{gone:04d}")
    wait_for_replica(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        read = getattr(reads, way)
        found = await asyncio.gather(*(read(shard, i) for i in ids), return_exceptions=True)
        for item_id, reading in zip(ids, found, strict=True):
            if native.bucket_of(item_id, 4) == gone:
                assert isinstance(reading, BucketMoved)
            else:
                assert isinstance(reading, Reading)
                assert (version(reading), reading.map_epoch) == (1, 7)
        with pytest.raises(BucketMoved):
            await read(shard, ids[0])

    run(database(small_stack), use)


def test_more_reads_than_the_bound_are_refused_and_the_others_answered(
    small_stack: EmbeddedStack,
) -> None:
    ids = prepared(small_stack, 12)

    async def use(shard: Shard, reads: Reads) -> None:
        found = await asyncio.gather(
            *(reads.read_fresh(shard, i) for i in ids), return_exceptions=True
        )
        assert [version(r) for r in found if isinstance(r, Reading)] == [1] * 8
        refused = [r for r in found if not isinstance(r, Reading)]
        assert [type(r) for r in refused] == [Overloaded] * 4
        assert (await reads.read_fresh(shard, ids[-1])).proved

    run(database(small_stack, reads_in_flight=4), use)


def test_a_reader_that_gives_up_takes_nothing_from_the_others(small_stack: EmbeddedStack) -> None:
    ids = prepared(small_stack, 12)

    async def use(shard: Shard, reads: Reads) -> None:
        for _ in range(20):
            tasks = [asyncio.ensure_future(reads.read_fresh(shard, i)) for i in ids]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [version(r) for r in found[1::2] if isinstance(r, Reading)] == [1] * 6
        # Nothing of those that gave up is still counted.
        found = await asyncio.gather(*(reads.read_fresh(shard, i) for i in ids))
        assert len(found) == 12

    run(database(small_stack, reads_in_flight=6), use)


def test_each_statement_has_its_own_snapshot_despite_server_settings(
    small_stack: EmbeddedStack,
) -> None:
    settings = database(small_stack)
    execute(
        small_stack.shards[0][0],
        "ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'",
    )
    with psycopg.connect(conninfo(small_stack.shards[0][0], settings)) as connection:
        row = connection.execute("SHOW transaction_isolation").fetchone()
    assert row == ("read committed",)
