"""Reads by id while servers of their shard are killed, frozen, cut off and brought back."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import uvloop

from service.cache.entries import SCRIPTS, Entries
from service.embedded import EmbeddedStack
from service.embedded.postgres import PostgresNode
from service.flow.breaker import State
from service.items.coherence import Coherence
from service.items.last_seen import LastSeen
from service.items.outbox import Outbox
from service.model.errors import DatabaseTimeout, DependencyError, ShardUnavailable
from service.model.item_json import render
from service.store.reads import Reading, Reads
from service.store.shards import Shard, Shards
from tests.fixtures.pipelines import connected
from tests.fixtures.reading import database, delete, prepared, run, update, wait_for_replica
from tests.fixtures.stack import execute

UNKNOWN = bytes(16)
Harm = Callable[[PostgresNode], None]
WAYS = ["read_fresh", "read_any", "read_primary"]


def kill(node: PostgresNode) -> None:
    node.kill()


def freeze(node: PostgresNode) -> None:
    node.pause()


def mend(node: PostgresNode) -> None:
    """Blocks the loop, as nothing of ours would; deadlines that pass meanwhile do no harm."""
    if node.pids():
        node.resume()
    else:
        node.spawn()
        node.await_ready()


async def until(condition: Callable[[Reading], bool], read: Callable[[], object]) -> None:
    """Read until it is so; a minute at most."""
    last: object = None
    for _ in range(600):
        try:
            last = await read()  # type: ignore[misc]
        except DependencyError as error:
            last = error
        if isinstance(last, Reading) and condition(last):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"still {last!r}")


@pytest.mark.parametrize("harm", [kill, freeze])
def test_without_its_replica_the_primary_answers_and_a_breaker_spares_the_wait(
    small_stack: EmbeddedStack, harm: Harm
) -> None:
    item_id, *_ = prepared(small_stack)
    replica = small_stack.node(0, 1)
    changes: list[tuple[str, State]] = []

    async def use(shard: Shard, _: Reads) -> None:
        reads = Reads(database(small_stack), on_breaker=lambda *change: changes.append(change))
        assert (await reads.read_fresh(shard, item_id)).proved
        harm(replica)
        for expected in range(2, 12):
            update(small_stack, item_id)
            reading = await reads.read_fresh(shard, item_id)
            assert reading.item is not None
            assert (reading.item.version, reading.proved) == (expected, True)
            assert (await reads.read_any(shard, item_id)).item is not None
        assert ("shard-0/primary", State.OPEN) not in changes
        mend(replica)
        wait_for_replica(small_stack)

        async def read() -> Reading:
            reading = await reads.read_fresh(shard, item_id)
            assert reading.proved
            return reading

        # Found again: it answers, and its breaker closes on what it answers.
        await until(lambda _: answers(reads, "shard-0/node-1"), read)

    run(database(small_stack), use)


def answers(reads: Reads, name: str) -> bool:
    status = reads.statuses()[name]
    return status.state is State.CLOSED and status.calls > status.failures


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("harm", [kill, freeze])
def test_without_its_primary_a_replica_answers_unproved_and_denies_nothing(
    small_stack: EmbeddedStack, harm: Harm, way: str
) -> None:
    living, deleted, _ = prepared(small_stack)
    delete(small_stack, deleted)
    wait_for_replica(small_stack)
    primary = small_stack.node(0, 0)

    async def use(shard: Shard, reads: Reads) -> None:
        read = getattr(reads, way)
        assert (await read(shard, living)).item.version == 1
        harm(primary)
        # A hanging one is queried, and owners are refused, until it has missed a role query.
        await until(lambda reading: not reading.proved, lambda: read(shard, living))
        for _ in range(3):
            reading = await read(shard, living)
            assert (reading.item.version, reading.proved) == (1, False)
        for missing in (deleted, UNKNOWN):
            with pytest.raises(DependencyError):
                await read(shard, missing)
        mend(primary)
        await until(lambda reading: reading.proved, lambda: reads.read_fresh(shard, living))
        assert (await reads.read_primary(shard, deleted)).missing

    run(database(small_stack), use)


def test_without_any_node_it_fails_by_the_deadline(
    small_stack: EmbeddedStack,
) -> None:
    item_id, *_ = prepared(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        assert (await reads.read_fresh(shard, item_id)).proved
        freeze(small_stack.node(0, 0))
        freeze(small_stack.node(0, 1))
        for way in WAYS:
            with pytest.raises(DependencyError):
                await asyncio.wait_for(getattr(reads, way)(shard, item_id), 30)
        mend(small_stack.node(0, 0))
        mend(small_stack.node(0, 1))
        await until(lambda reading: reading.proved, lambda: reads.read_fresh(shard, item_id))

    run(database(small_stack, timeout_s=1.0), use)


def test_broken_connections_do_not_prevent_a_proof_by_the_primary(
    small_stack: EmbeddedStack,
) -> None:
    item_id, *_ = prepared(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        for _ in range(5):
            for url in small_stack.shards[0]:
                execute(
                    url,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'hotshelf'",
                )
            assert (await reads.read_fresh(shard, item_id)).proved

    run(database(small_stack), use)


def test_after_a_failover_readings_have_the_new_timeline(small_stack: EmbeddedStack) -> None:
    item_id, *_ = prepared(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        assert (await reads.read_fresh(shard, item_id)).timeline == 1
        kill(small_stack.node(0, 0))
        small_stack.node(0, 1).promote()
        await until(lambda reading: reading.proved, lambda: reads.read_fresh(shard, item_id))
        assert (await reads.read_fresh(shard, item_id)).timeline == 2

    run(database(small_stack), use)


def test_a_shard_without_replicas_has_only_its_primary(small_stack: EmbeddedStack) -> None:
    item_id, *_ = prepared(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        assert (await reads.read_fresh(shard, item_id)).proved
        kill(small_stack.node(0, 0))
        with pytest.raises(ShardUnavailable):
            await reads.read_any(shard, item_id)

    only_primary = (tuple(small_stack.shards[0][:1]),)
    run(database(small_stack, shards=only_primary), use)


async def _held_up(shard: Shard, stack: AsyncExitStack) -> None:
    """All connections to the primary are in use; it is alive but gets no query."""
    for _ in range(2):
        await stack.enter_async_context(shard.primary(reading=True))


def test_a_slow_primary_is_not_one_that_is_away(small_stack: EmbeddedStack) -> None:
    """Owners are refused; others are answered by a replica without proof."""
    item_id, *_ = prepared(small_stack)

    async def use(shard: Shard, reads: Reads) -> None:
        async with AsyncExitStack() as stack:
            await _held_up(shard, stack)
            with pytest.raises(DatabaseTimeout):
                await reads.read_primary(shard, item_id)
            assert not (await reads.read_fresh(shard, item_id)).proved
            assert shard.primary_known

    run(database(small_stack, pool_size=2), use)


@pytest.mark.parametrize(("asks", "refused"), [("alice", True), ("bob", False)])
def test_an_owner_is_not_answered_by_a_replica_while_the_primary_is_slow(
    small_stack: EmbeddedStack, asks: str, refused: bool
) -> None:
    item_id, *_ = prepared(small_stack)
    settings = database(small_stack, pool_size=2)

    async def scenario() -> None:
        shards = Shards(settings)
        await shards.open()
        async with connected(small_stack.redis_url, scripts=SCRIPTS) as redis:
            outbox = Outbox(shards.all, Entries(redis))
            last_seen = LastSeen(asyncio.get_running_loop().time)
            coherence = Coherence(
                shards, Reads(settings), outbox, Entries(redis), last_seen, render
            )
            async with AsyncExitStack() as stack:
                await _held_up(shards.all[0], stack)
                reading = coherence.get_and_fill(None, item_id, [(asks, lambda _: None)])
                if refused:
                    with pytest.raises(DatabaseTimeout):
                        await reading
                else:
                    assert await reading is not None
        await shards.close()

    uvloop.run(scenario())
