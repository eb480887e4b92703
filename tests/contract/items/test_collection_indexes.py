"""Indexes of declared attributes: built beside requests, resumed, dropped; lists wait for them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.items.collection_indexes import CollectionIndexes
from service.items.decision import Conditions
from service.model.collection import Definition
from service.model.entity_tag import parse_tag_condition
from service.model.errors import Location, NotYetIndexed
from service.model.query import Condition, Path, Query, Sort
from service.settings import Database
from service.store.collection_indexes import IndexBuild, index_name, read_indexes
from service.store.indexes import BUILDING
from service.store.migrate import migrate
from tests.fixtures.collections import Operator, operator
from tests.fixtures.stack import execute

NEW = Conditions(if_none_match=parse_tag_condition("*"))
ANY = Conditions(if_match=parse_tag_condition("*"))
HERE = Location("", parameter="sort")
PRICE: Path = ("price",)
BY_PRICE = Query(sort=Sort(PRICE))
INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
POLLS, POLL_S = 600, 0.05

Work = Callable[[Operator, CollectionIndexes], Awaitable[None]]


def _run(database: Database, work: Work) -> None:
    async def scenario() -> None:
        async with operator(database) as one:
            indexes = CollectionIndexes(one.collections, one.shards, database)
            indexes.start()
            try:
                await work(one, indexes)
            finally:
                await indexes.close()

    asyncio.run(scenario())


async def _eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(POLLS):
        if await condition():
            return
        await asyncio.sleep(POLL_S)
    raise AssertionError("it never came true")


def _names(database: Database) -> list[list[str]]:
    query = "SELECT relname FROM pg_class WHERE relkind = 'I' AND relname LIKE 'items_coll_%'"
    return [sorted(str(name) for (name,) in execute(nodes[0], query)) for nodes in database.shards]


def test_what_is_declared_is_built_and_what_is_not_is_dropped(two_shards: Database) -> None:
    async def work(one: Operator, indexes: CollectionIndexes) -> None:
        both = Definition(attributes=(PRICE, ("a", "b")))
        made, *_ = await one.changes.put("products", both, NEW)
        assert indexes.missing(made) == {PRICE, ("a", "b")}
        with pytest.raises(NotYetIndexed) as refused:
            indexes.check_built(BY_PRICE, made, HERE)
        assert refused.value.locations == (Location("has no index yet", parameter="sort"),)
        assert refused.value.extra["done"] == 0

        async def built() -> bool:
            return not indexes.missing(made)

        await _eventually(built)
        indexes.check_built(BY_PRICE, made, HERE)
        assert await indexes.progress(made) == {PRICE: (4, 4), ("a", "b"): (4, 4)}
        fewer, *_ = await one.changes.put("products", Definition(attributes=(PRICE,)), ANY)

        async def dropped() -> bool:
            return _names(two_shards) == [[index_name(1, PRICE)]] * 2

        await _eventually(dropped)
        assert not indexes.missing(fewer)
        await one.changes.drop("products", Conditions(), with_items=True)

        async def empty() -> bool:
            return _names(two_shards) == [[], []]

        await _eventually(empty)

    _run(two_shards, work)


def test_only_lists_that_need_it_wait_for_an_index(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        made, *_ = await one.changes.put("products", Definition(attributes=(PRICE,)), NEW)
        indexes = CollectionIndexes(one.collections, one.shards, two_shards)
        indexes._known = await indexes._read()
        where = Location("", parameter="filter[price]")
        for operator_ in ("gt", "gte", "lt", "lte", "in", "prefix"):
            filtered = Query((Condition(PRICE, operator_, ("1",), where),))
            with pytest.raises(NotYetIndexed):
                indexes.check_built(filtered, made, HERE)
        for fine in (
            Query(),
            Query((Condition(PRICE, "eq", ("1",), where),)),
            Query((Condition(("owner_id",), "gt", ("a",), where),)),
            Query(sort=Sort(("created_at",), descending=True)),
        ):
            indexes.check_built(fine, made, HERE)

    async def scenario() -> None:
        async with operator(two_shards) as one:
            await work(one)

    asyncio.run(scenario())


def test_one_process_builds_at_a_time_and_a_cut_build_is_done_anew(two_shards: Database) -> None:
    async def scenario() -> None:
        async with operator(two_shards) as one:
            await one.changes.put("products", Definition(attributes=(PRICE,)), NEW)
            first = one.shards.all[0]
            build = IndexBuild(0, two_shards.shards[0], two_shards)
            async with first.primary() as connection:
                await connection.execute("SELECT pg_advisory_lock(%s)", (BUILDING,))
                assert (await read_indexes(first)).in_work
                assert not await asyncio.to_thread(build.run)
                await connection.execute("SELECT pg_advisory_unlock(%s)", (BUILDING,))
            assert not (await read_indexes(first)).in_work
            # A writer's transaction keeps CREATE INDEX CONCURRENTLY waiting.
            async with first.primary() as writer:
                await writer.execute("BEGIN")
                await writer.execute("LOCK TABLE items_0000 IN ROW EXCLUSIVE MODE")
                running = asyncio.create_task(asyncio.to_thread(build.run))

                async def begun() -> bool:
                    return bool(execute(two_shards.shards[0][0], INVALID)[0][0] != 0)

                await _eventually(begun)
                while not running.done():
                    build.cancel()
                    await asyncio.wait({running}, timeout=POLL_S)
                assert running.exception() is not None
                await writer.execute("ROLLBACK")
            name = index_name(1, PRICE)
            assert name not in (await read_indexes(first)).valid
            assert await asyncio.to_thread(build.run)
            assert name in (await read_indexes(first)).valid
            assert execute(two_shards.shards[0][0], INVALID) == [(0,)]

    asyncio.run(scenario())


def test_a_migration_leaves_them_alone(two_shards: Database) -> None:
    async def scenario() -> None:
        async with operator(two_shards) as one:
            await one.changes.put("products", Definition(attributes=(PRICE,)), NEW)
            for number, nodes in enumerate(two_shards.shards):
                assert await asyncio.to_thread(IndexBuild(number, nodes, two_shards).run)

    asyncio.run(scenario())
    before = _names(two_shards)
    migrate(two_shards, attributes=[("name",)])
    assert _names(two_shards) == before == [[index_name(1, PRICE)]] * 2
