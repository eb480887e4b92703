"""The node for a list: a replica proved to be current, else the primary, else any replica."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import uvloop

from service.embedded import EmbeddedStack
from service.flow.breaker import State
from service.items.pages import Pages
from service.model.errors import DatabaseTimeout, DependencyError, Location, ShardUnavailable
from service.model.query import OWNER_ID, Condition, Query
from service.settings import Database
from service.store.list_reads import ListReads, Statement
from service.store.lists import read_cursor_key
from service.store.node_bulkheads import NodeBulkheads
from service.store.shards import Shard, Shards
from tests.faults.test_reads import Harm, freeze, kill, mend
from tests.fixtures.reading import database, pause, prepared, update, wait_for_replica
from tests.fixtures.stack import eventually, execute

# Tells whether a replica answered, and the newest version that it has.
WHO = Statement(b"SELECT pg_is_in_recovery(), max(version) FROM items", {}, False)
# Ends at once on a primary only.
ENDLESS_ON_A_REPLICA = Statement(
    b"SELECT pg_is_in_recovery(), pg_sleep(CASE WHEN pg_is_in_recovery() THEN 60 ELSE 0 END)",
    {},
    False,
)
SLEEPERS = (
    "FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(CASE%'"
    " AND pid <> pg_backend_pid()"
)
ALICE = Query((Condition(OWNER_ID, "eq", ("alice",), Location("", parameter="filter[owner_id]")),))


@dataclass
class Worker:
    """The objects by which a worker process reads lists."""

    shard: Shard
    bulkheads: NodeBulkheads
    reads: ListReads
    pages: Pages

    async def ask(self) -> tuple[bool, int]:
        """Whether a replica answered, and the newest version."""
        [(by_replica, version)] = await self.reads.rows(self.shard, WHO, 5.0)
        return by_replica, version

    async def versions(self) -> list[int]:
        page = await self.pages.read(ALICE, frozenset(), None, 100)
        return [item.version for item in page.items]


def run(settings: Database, use: Callable[[Worker], Awaitable[None]]) -> None:
    async def body() -> None:
        shards = Shards(settings)
        await shards.open()
        bulkheads = NodeBulkheads(settings.reads_in_flight)
        reads = ListReads(bulkheads, 5)
        pages = Pages(shards, reads, settings.timeout_s, 2)
        try:
            await use(Worker(shards.all[0], bulkheads, reads, pages))
        finally:
            await shards.close()

    uvloop.run(body())


async def until(expected: tuple[bool, int], worker: Worker) -> None:
    """Ask until it is so; a minute at most."""
    last: object = None
    for _ in range(600):
        try:
            last = await worker.ask()
        except DependencyError as error:
            last = error
        if last == expected:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"still {last!r}")


def test_acknowledged_writes_are_in_a_list_from_any_node(small_stack: EmbeddedStack) -> None:
    prepared(small_stack)

    async def use(worker: Worker) -> None:
        by_replicas = 0
        async with worker.shard.primary() as connection:
            for expected in range(2, 102):
                await connection.execute("UPDATE items SET version = version + 1")
                by_replica, version = await worker.ask()
                assert version == expected
                by_replicas += by_replica
        assert by_replicas > 0
        wait_for_replica(small_stack)
        assert await worker.ask() == (True, 101)
        assert await worker.versions() == [101, 101, 101]

    run(database(small_stack), use)


def test_a_replica_that_is_behind_is_passed_over(small_stack: EmbeddedStack) -> None:
    """The write may have been another worker's: nothing of it is known to this one."""
    item_id, *_ = prepared(small_stack)

    async def use(worker: Worker) -> None:
        pause(small_stack)
        assert await worker.ask() == (True, 1), "it lacks nothing yet"
        update(small_stack, item_id)
        assert await worker.ask() == (False, 2)
        assert sorted(await worker.versions()) == [1, 1, 2]
        execute(small_stack.shards[0][1], "SELECT pg_wal_replay_resume()")
        wait_for_replica(small_stack)
        assert await worker.ask() == (True, 2)

    run(database(small_stack), use)


@pytest.mark.parametrize("harm", [kill, freeze])
def test_without_its_replica_the_primary_answers(small_stack: EmbeddedStack, harm: Harm) -> None:
    item_id, *_ = prepared(small_stack)
    replica = small_stack.node(0, 1)

    async def use(worker: Worker) -> None:
        assert await worker.ask() == (True, 1)
        harm(replica)
        for expected in range(2, 12):
            update(small_stack, item_id)
            assert await worker.ask() == (False, expected)
        assert worker.bulkheads.statuses()["shard-0/primary"].state is State.CLOSED
        mend(replica)
        wait_for_replica(small_stack)
        await until((True, 11), worker)

    run(database(small_stack), use)


@pytest.mark.parametrize("harm", [kill, freeze])
def test_without_the_primary_a_replica_answers(small_stack: EmbeddedStack, harm: Harm) -> None:
    prepared(small_stack)
    primary = small_stack.node(0, 0)

    async def use(worker: Worker) -> None:
        assert await worker.versions() == [1, 1, 1]
        key = await read_cursor_key(worker.reads, worker.shard)
        harm(primary)
        for _ in range(3):
            assert await worker.versions() == [1, 1, 1]
            assert await read_cursor_key(worker.reads, worker.shard) == key
        mend(primary)
        pause(small_stack)
        execute(small_stack.shards[0][0], "UPDATE items SET version = 2")
        await until((False, 2), worker)

    run(database(small_stack), use)


def test_without_any_node_it_fails(small_stack: EmbeddedStack) -> None:
    prepared(small_stack)

    async def use(worker: Worker) -> None:
        for number in (0, 1):
            freeze(small_stack.node(0, number))
        with pytest.raises(DependencyError):
            await asyncio.wait_for(worker.versions(), 30)
        for number in (0, 1):
            mend(small_stack.node(0, number))
        await until((True, 1), worker)

    run(database(small_stack, timeout_s=1.0), use)


def test_a_list_that_a_replica_gives_up_is_the_primary_s(small_stack: EmbeddedStack) -> None:
    prepared(small_stack)
    replica = small_stack.shards[0][1]

    async def use(worker: Worker) -> None:
        assert await worker.ask() == (True, 1)
        asked = asyncio.create_task(worker.reads.rows(worker.shard, ENDLESS_ON_A_REPLICA, 5.0))
        await asyncio.to_thread(eventually, replica, f"SELECT count(*) {SLEEPERS}", 1)
        [(_, bulkhead)] = worker.bulkheads.of_replicas(worker.shard)
        assert bulkhead.in_flight == 1
        await asyncio.to_thread(execute, replica, f"SELECT pg_terminate_backend(pid) {SLEEPERS}")
        [(by_replica, _)] = await asked
        assert not by_replica
        assert bulkhead.in_flight == 0

    run(database(small_stack, timeout_s=60.0), use)


def test_a_list_that_is_too_hard_is_not_tried_twice(small_stack: EmbeddedStack) -> None:
    prepared(small_stack)

    async def use(worker: Worker) -> None:
        assert await worker.ask() == (True, 1)
        with pytest.raises(DatabaseTimeout):
            await worker.reads.rows(worker.shard, ENDLESS_ON_A_REPLICA, 5.0)
        # It says nothing against the node.
        assert worker.bulkheads.statuses()["shard-0/node-1"].state is State.CLOSED
        assert await worker.ask() == (True, 1)

    run(database(small_stack, timeout_s=0.5), use)


def test_a_shard_of_one_node_is_read_directly(small_stack: EmbeddedStack) -> None:
    prepared(small_stack)

    async def use(worker: Worker) -> None:
        assert await worker.ask() == (False, 1)
        kill(small_stack.node(0, 0))
        with pytest.raises(ShardUnavailable):
            await worker.pages.read(ALICE, frozenset(), None, 100)

    run(database(small_stack, shards=(tuple(small_stack.shards[0][:1]),)), use)
