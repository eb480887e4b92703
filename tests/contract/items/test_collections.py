"""Definitions on two shards: what stands after a change, a cut, a drop, and a lost first shard."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from service.items.decision import Conditions
from service.model.collection import Definition, Read
from service.model.entity_tag import entity_tag, parse_tag_condition
from service.model.errors import (
    CollectionFixed,
    CollectionNotEmpty,
    DatabaseTimeout,
    HotshelfError,
    InvalidContent,
    NoSuchCollection,
    PreconditionFailed,
    ShardUnavailable,
)
from service.model.resource import Target
from service.settings import Collections as Bounds
from service.settings import Database
from tests.fixtures.collections import Operator, operator
from tests.fixtures.stack import execute

NEW = Conditions(if_none_match=parse_tag_condition("*"))
ANY = Conditions(if_match=parse_tag_condition("*"))
NONE = Conditions()
NOWHERE = "postgresql://127.0.0.1:1/x"
ROWS = "SELECT number, name, version, definition, updated_at, dropped_at FROM collections"


def _run(
    database: Database, work: Callable[[Operator], Awaitable[None]], bounds: Bounds | None = None
) -> None:
    async def scenario() -> None:
        async with operator(database, bounds) as one:
            await work(one)

    asyncio.run(scenario())


def _rows(database: Database) -> list[list[tuple[object, ...]]]:
    return [execute(nodes[0], f"{ROWS} ORDER BY number") for nodes in database.shards]


def _add_item(database: Database, shard: int, number: int) -> None:
    execute(
        database.shards[shard][0],
        "INSERT INTO items (id, owner_id, data, version, created_at, updated_at, collection)"
        " SELECT id, 'alice', '{}', 1, now(), now(), " + str(number) + " FROM ("
        "   SELECT gen_random_uuid() AS id FROM generate_series(1, 200)) AS ids"
        "  WHERE EXISTS (SELECT FROM owned_buckets"
        "   WHERE satisfies_hash_partition('items'::regclass, 4, bucket, id)) LIMIT 1",
    )


def test_a_collection_is_on_all_shards_and_known_by_name_number_and_path(
    two_shards: Database,
) -> None:
    async def work(one: Operator) -> None:
        made, is_new, _ = await one.changes.put("products", Definition(read=Read.OWNER), NEW)
        assert (made.number, made.name, made.version, is_new) == (1, "products", 1, True)
        known = one.collections
        assert known.find("products") == known.by_number[1] == made
        assert known.hot_prefix["/v1/products/"] == made
        assert known.of_path("/v2/products:batch") == (made, Target(2, ":batch"))
        assert known.of_path("/v1/items") == (known.by_number[0], Target(1, ""))
        assert known.of_path("/v1/orders") is None
        with pytest.raises(NoSuchCollection):
            known.find("orders")

    _run(two_shards, work)
    first, second = _rows(two_shards)
    assert first == second
    assert len(first) == 1


def test_every_change_counts_and_another_worker_learns_of_it(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        async with operator(two_shards) as other:
            told: list[int] = []
            other.collections.on_change.append(lambda: told.append(1))
            await one.changes.put("products", Definition(), NEW)
            orders, *_ = await one.changes.put("orders", Definition(), NEW)
            changed, is_new, _ = await one.changes.put("products", Definition(ttl_s=5), ANY)
            assert (orders.number, orders.version) == (2, 2)
            assert (changed.number, changed.version, is_new) == (1, 3, False)
            assert "products" not in other.collections.by_name
            await other.collections.refresh()
            assert other.collections.find("products").definition.ttl_s == 5
            assert other.collections.find("orders") == orders
            await other.collections.refresh()
            assert told == [1]

    _run(two_shards, work)


def test_conditions_are_those_of_items(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        with pytest.raises(PreconditionFailed):
            await one.changes.put("products", Definition(), ANY)
        made, *_ = await one.changes.put("products", Definition(), NEW)
        with pytest.raises(PreconditionFailed) as refused:
            await one.changes.put("products", Definition(ttl_s=1), NEW)
        assert refused.value.extra["etag"] == entity_tag(made)
        this = Conditions(if_match=parse_tag_condition(entity_tag(made)))
        changed, *_ = await one.changes.put("products", Definition(ttl_s=1), this)
        # A lost answer: what was asked for stands.
        assert await one.changes.put("products", Definition(ttl_s=1), this) == (
            changed,
            False,
            False,
        )
        with pytest.raises(PreconditionFailed):
            await one.changes.put("products", Definition(ttl_s=2), this)
        with pytest.raises(PreconditionFailed):
            await one.changes.drop("products", this, with_items=False)

    _run(two_shards, work)


def test_a_change_that_was_cut_off_is_completed(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        await one.changes.put("products", Definition(), NEW)
        await one.changes.put("orders", Definition(), NEW)
        await one.changes.drop("products", NONE, with_items=False)
        again, *_ = await one.changes.put("products", Definition(ttl_s=9), NEW)
        assert again.number == 3
        execute(two_shards.shards[1][0], "DELETE FROM collections WHERE number <> 1")
        execute(
            two_shards.shards[1][0],
            "UPDATE collections SET name = 'products', version = 1, dropped_at = NULL",
        )
        await one.collections.complete()

    _run(two_shards, work)
    first, second = _rows(two_shards)
    assert first == second
    assert len(first) == 3


def test_a_first_shard_of_an_old_dump_does_not_hold_back_the_others(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        for ttl_s in (1, 2, 3):
            await one.changes.put("products", Definition(ttl_s=ttl_s), Conditions())
        execute(two_shards.shards[0][0], "UPDATE collections SET version = 1")
        await one.changes.put("products", Definition(ttl_s=4), ANY)

    _run(two_shards, work)
    first, second = _rows(two_shards)
    assert first == second
    [(_, _, version, _, _, _)] = first
    assert version == 4


@pytest.mark.parametrize("shard", [0, 1])
def test_only_an_empty_collection_is_dropped_unless_it_is_meant(
    two_shards: Database, shard: int
) -> None:
    async def work(one: Operator) -> None:
        await one.changes.put("products", Definition(), NEW)
        _add_item(two_shards, shard, 1)
        with pytest.raises(CollectionNotEmpty):
            await one.changes.drop("products", NONE, with_items=False)
        assert one.collections.find("products").version == 1
        await one.changes.drop("products", NONE, with_items=True)
        with pytest.raises(NoSuchCollection):
            one.collections.find("products")
        with pytest.raises(NoSuchCollection):
            await one.changes.drop("products", NONE, with_items=True)

    _run(two_shards, work)
    for [(number, name, version, definition, _, dropped_at)] in _rows(two_shards):
        assert (number, name, version, definition) == (1, None, 2, {})
        assert dropped_at is not None


def test_a_change_waits_for_writes_under_way(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        await one.changes.put("products", Definition(), NEW)
        check = "SELECT check_definition(1::smallint, %s)"
        async with one.shards.all[1].primary() as connection:
            async with connection.transaction():
                await connection.execute(check, (1,))
                changing = asyncio.create_task(
                    one.changes.put("products", Definition(ttl_s=1), ANY)
                )
                done, _ = await asyncio.wait({changing}, timeout=1.5)
                assert not done
            await changing
            async with connection.transaction():
                await connection.execute(check, (2,))

    _run(two_shards, work)


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        (Definition(schema={"type": "nothing"}), "/schema"),
        (Definition(schema={"$ref": "http://127.0.0.1:1/x"}), "/schema"),
        (Definition(attributes=(("a",), ("b",), ("c",))), "/attributes"),
    ],
)
def test_what_cannot_be_served_is_refused(
    two_shards: Database, definition: Definition, pointer: str
) -> None:
    async def work(one: Operator) -> None:
        with pytest.raises(InvalidContent) as refused:
            await one.changes.put("products", definition, NEW)
        assert [location.pointer for location in refused.value.locations] == [pointer]
        with pytest.raises(CollectionFixed):
            await one.changes.put("items", definition, NEW)
        with pytest.raises(CollectionFixed):
            await one.changes.drop("items", NONE, with_items=True)

    _run(two_shards, work, Bounds(max_indexes=8))
    assert _rows(two_shards) == [[], []]


def test_declared_attributes_of_all_collections_count_together(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        two = Definition(attributes=(("a",), ("b",)))
        await one.changes.put("products", two, NEW)
        with pytest.raises(InvalidContent, match=r"16 indexes; collections\.max_indexes allows 12"):
            await one.changes.put("orders", two, NEW)
        await one.changes.put("orders", Definition(attributes=(("a",),)), NEW)
        await one.changes.drop("products", NONE, with_items=False)
        await one.changes.put("orders", two, ANY)

    _run(two_shards, work, Bounds(max_indexes=12))


def test_all_definitions_together_have_a_bound(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        long = Definition(schema={"const": "x" * 40_000})
        await one.changes.put("products", long, NEW)
        with pytest.raises(InvalidContent, match="definitions_max_bytes"):
            await one.changes.put("orders", long, NEW)

    _run(two_shards, work, Bounds(definitions_max_bytes=1 << 16))


def test_without_the_first_shard_nothing_changes_and_all_stays_known(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        made, *_ = await one.changes.put("products", Definition(), NEW)
        broken = replace(two_shards, shards=((NOWHERE,), *two_shards.shards[1:]))
        async with operator(broken) as cut_off:
            # From the second shard, since it knew nothing.
            assert cut_off.collections.find("products") == made
            with pytest.raises((ShardUnavailable, DatabaseTimeout)):
                await cut_off.changes.put("products", Definition(ttl_s=1), ANY)
            assert cut_off.collections.find("products") == made
        nothing = replace(two_shards, shards=((NOWHERE,),))
        async with operator(nothing) as cut_off:
            with pytest.raises(HotshelfError) as refused:
                cut_off.collections.find("products")
            assert refused.type is ShardUnavailable
            assert cut_off.collections.find("items").number == 0

    _run(two_shards, work)


def test_twenty_changes_at_once_are_one_after_the_other(two_shards: Database) -> None:
    async def work(one: Operator) -> None:
        async with operator(two_shards) as other:
            made = await asyncio.gather(
                *(
                    (one, other)[n % 2].changes.put(f"c{n}", Definition(ttl_s=n + 1), NEW)
                    for n in range(20)
                )
            )
        assert sorted(c.version for c, *_ in made) == sorted(c.number for c, *_ in made)
        assert sorted(c.number for c, *_ in made) == list(range(1, 21))

    _run(two_shards, work)
    first, second = _rows(two_shards)
    assert first == second
