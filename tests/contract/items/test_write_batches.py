"""PUT, PATCH and DELETE of one tick: one transaction, and each request answered for itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from service import native
from service.items.decision import Conditions
from service.model.change import Outcome
from service.model.entity_tag import parse_tag_condition
from service.model.errors import (
    DatabaseTimeout,
    IdempotencyKeyReused,
    InvalidContent,
    ItemNotFound,
    NotOwner,
    PreconditionFailed,
    ShardUnavailable,
)
from service.model.item import Item
from service.settings import Database
from tests.fixtures.mixed_writes import ANY, DATA, NEW, made, mixed, patched, stored
from tests.fixtures.postgres_proxy import PostgresProxy
from tests.fixtures.stack import execute
from tests.fixtures.writers import ADMIN, ALICE, Writes, key, settled, workers

STALE = Conditions(if_match=parse_tag_condition('"9-00000000"'))
NONE = Conditions(if_none_match=parse_tag_condition("*"))


def _transactions(database: Database, ids: Sequence[bytes]) -> int:
    """How many made the items as they are."""
    chosen = ", ".join(f"'{item_id.hex()}'" for item_id in ids)
    statement = f"SELECT count(DISTINCT xmin::text) FROM items WHERE id IN ({chosen})"
    [[found]] = execute(database.shards[0][0], statement)
    return int(str(found))


def test_two_round_trips_and_one_transaction_however_many(fresh: Database) -> None:
    async def run() -> tuple[list[bytes], list[Outcome], int]:
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),)), 1) as [writes],
        ):
            ids = await made(writes, 60)
            before = proxy.round_trips
            return ids, await asyncio.gather(*mixed(writes, ids)), proxy.round_trips - before

    ids, outcomes, round_trips = asyncio.run(run())
    assert round_trips == 2
    assert _transactions(fresh, ids) == 1
    answered = [(o.kind, o.item and (o.item.version, o.item.data)) for o in outcomes]
    changed, merged = ("changed", (2, NEW)), ("changed", (2, b'{"n": 2, "v": 1}'))
    deleted = ("deleted", None)
    assert answered == [changed, changed, merged, merged, deleted, deleted] * 10
    new, old = (2, {"n": 2}), (2, {"n": 2, "v": 1})
    assert stored(fresh) == [new, new, old, old, (2, None), (2, None)] * 10
    assert [o.invalidation and o.invalidation.version for o in outcomes] == [2] * 60
    [[announced]] = execute(
        fresh.shards[0][0],
        "SELECT count(*) FROM cache_outbox JOIN items ON id = item_id"
        " AND cache_outbox.version = items.version"
        " JOIN owned_buckets ON cache_epoch(bucket) = cache_outbox.epoch"
        " AND bucket = right(items.tableoid::regclass::text, 4)::integer",
    )
    assert announced == 60


def test_records_of_a_batch_are_those_of_single_writes(fresh: Database) -> None:
    """Each is replayed by another worker as it was answered, the refused ones too."""

    async def run() -> None:
        async with workers(fresh) as [first, second]:
            ids = await made(first, 5)
            keys = [key() for _ in ids]

            def requests(writes: Writes) -> list[Any]:
                return [
                    writes.replace(ADMIN, ids[0], NEW, ANY, keys[0]),
                    writes.patch(ALICE, ids[1], patched, ANY, keys[1]),
                    writes.delete(ALICE, ids[2], ANY, keys[2]),
                    writes.replace(ALICE, ids[3], NEW, STALE, keys[3]),
                    writes.replace(ALICE, ids[4], NEW, ANY, keys[4]),
                ]

            *answers, refused, last = await settled(*requests(first))
            assert isinstance(refused, PreconditionFailed)
            assert not refused.replayed
            await asyncio.gather(*(first.replace(ADMIN, i, DATA, Conditions()) for i in ids))
            *again, refused_again, last_again = await settled(*requests(second))
            assert [*again, last_again] == [a._replace(replayed=True) for a in [*answers, last]]
            assert isinstance(refused_again, PreconditionFailed)
            assert refused_again.replayed
            assert refused_again.extra == refused.extra

    asyncio.run(run())


def test_each_is_refused_for_itself(fresh: Database) -> None:
    """A failing request does not affect its neighbours, which are changed in one transaction."""

    async def run() -> None:
        async with workers(fresh, 1) as [writes]:
            unborn = native.mint_in_bucket(1, 3, fresh.buckets)
            *ids, gone, twice, known, reused, stale = await made(writes, 25)
            await writes.delete(ALICE, gone, ANY)
            same, other = key(), key(content=b"a")
            replayed = await writes.replace(ALICE, known, NEW, ANY, same)
            await writes.replace(ALICE, reused, NEW, ANY, other)
            odd = await settled(
                *mixed(writes, ids),
                writes.patch(ALICE, gone, patched, ANY),
                writes.replace(ALICE, unborn, NEW, NONE),
                writes.replace(ALICE, twice, b'{"a": 1}', ANY),
                writes.replace(ALICE, twice, b'{"b": 1}', ANY),
                writes.replace(ALICE, known, NEW, ANY, same),
                writes.replace(ALICE, reused, NEW, ANY, key(other.key, b"b")),
                writes.replace(ALICE, stale, NEW, STALE),
                writes.delete(replace(ALICE, subject="bob"), stale, ANY),
            )
        assert _transactions(fresh, ids) == 1
        assert all(isinstance(o, Outcome) and not o.replayed for o in odd[: len(ids)])
        absent, born, first, second, again, misused, failed, forbidden = odd[len(ids) :]
        assert isinstance(absent, ItemNotFound)
        assert (born.kind, born.item.version) == ("created", 1)
        assert {first.item.version, second.item.version} == {2, 3}
        assert again == replayed._replace(replayed=True)
        assert isinstance(misused, IdempotencyKeyReused)
        assert isinstance(failed, PreconditionFailed)
        assert isinstance(forbidden, NotOwner)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("odd", "error"), [(b'{"k": "\\u0000"}', InvalidContent), (None, RuntimeError)]
)
def test_neighbours_of_a_failing_write_are_written(
    fresh: Database, odd: bytes | None, error: type[Exception]
) -> None:
    def oddly(_: Item) -> bytes:
        if odd is None:
            raise RuntimeError
        return odd

    async def run() -> list[Any]:
        async with workers(fresh, 1) as [writes]:
            first, *ids = await made(writes, 13)
            return await settled(writes.patch(ALICE, first, oddly, ANY), *mixed(writes, ids))

    refused, *others = asyncio.run(run())
    assert isinstance(refused, error)
    assert [type(outcome) for outcome in others] == [Outcome] * 12
    assert [version for version, _ in stored(fresh)] == [1] + [2] * 12


def test_neighbours_of_a_bucket_that_moved_away_are_written(fresh: Database) -> None:
    async def run() -> tuple[list[bool], list[Any]]:
        async with workers(replace(fresh, timeout_s=1.0), 1) as [writes]:
            ids = await made(writes, 40)
            bucket = native.bucket_of(ids[0], fresh.buckets)
            for statement in (
                f"ALTER TABLE items DETACH PARTITION items_{bucket:04}",
                f"ALTER TABLE idempotency_keys DETACH PARTITION idempotency_keys_{bucket:04}",
                f"DELETE FROM owned_buckets WHERE bucket = {bucket}",
            ):
                execute(fresh.shards[0][0], statement)
            here = [native.bucket_of(i, fresh.buckets) != bucket for i in ids]
            return here, await settled(*mixed(writes, ids))

    here, outcomes = asyncio.run(run())
    assert [isinstance(outcome, Outcome) for outcome in outcomes] == here
    assert {type(o) for o in outcomes} <= {Outcome, ShardUnavailable, DatabaseTimeout}
