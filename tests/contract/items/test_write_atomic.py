"""Several changes in one transaction: all or none, whichever part breaks."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from service.items import decision
from service.items.decision import Conditions
from service.items.planned import IdempotencyKey, Planned
from service.model.change import Outcome
from service.model.entity_tag import parse_tag_condition
from service.model.errors import BatchFailed, HotshelfError, IdempotencyKeyReused, OutcomeUnknown
from service.observe.metrics import IDEMPOTENCY
from service.settings import Database
from service.store.shards import Shards
from tests.fixtures.databases import count
from tests.fixtures.postgres_proxy import PostgresProxy
from tests.fixtures.stack import execute
from tests.fixtures.writers import ALICE, atomic_writer, key, opened, settled, writer

ANY = Conditions(if_match=parse_tag_condition("*"))
STALE = Conditions(if_match=parse_tag_condition('"9-00000000"'))


def _create(data: bytes, its_key: IdempotencyKey | None = None) -> Planned:
    return Planned(None, decision.creating(ALICE, data), its_key or key(), data)


def _replace(
    item_id: bytes,
    data: bytes,
    its_key: IdempotencyKey | None = None,
    conditions: Conditions = ANY,
) -> Planned:
    return Planned(item_id, decision.replacing(ALICE, data, conditions), its_key, data)


def _delete(item_id: bytes) -> Planned:
    return Planned(item_id, decision.deleting(ALICE, ANY), None)


async def _made(shards: Shards, settings: Database, number: int) -> list[bytes]:
    writes = writer(shards, settings)
    outcomes = await asyncio.gather(*(writes.create(ALICE, key(), b"{}") for _ in range(number)))
    return [outcome.item.id for outcome in outcomes if outcome.item is not None]


def _versions(database: Database) -> list[int]:
    rows = execute(database.shards[0][0], "SELECT version FROM items ORDER BY id")
    return [int(str(row[0])) for row in rows]


def _shown(outcomes: Sequence[Outcome]) -> list[tuple[str, int | None, bytes | None]]:
    return [
        (o.kind, o.item.version if o.item else None, o.item.data if o.item else None)
        for o in outcomes
    ]


def test_three_round_trips_however_many(fresh: Database) -> None:
    async def run() -> tuple[list[Outcome], int]:
        async with PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy:
            settings = replace(fresh, shards=((proxy.url,),))
            async with opened(settings) as shards:
                ids = await _made(shards, settings, 20)
                before = proxy.round_trips
                planned = [_create(b'{"new": 1}'), _delete(ids[0])]
                planned += [_replace(i, b'{"n": 1}', key() if i[-1] % 2 else None) for i in ids[1:]]
                outcomes = await atomic_writer(shards, settings).write(ALICE, planned)
                return outcomes, proxy.round_trips - before

    outcomes, round_trips = asyncio.run(run())
    assert round_trips == 3
    shown = _shown(outcomes)
    assert shown[:2] == [("created", 1, b'{"new": 1}'), ("deleted", None, None)]
    assert shown[2:] == [("changed", 2, b'{"n": 1}')] * 19
    assert count(fresh) == 21


def test_one_that_cannot_be_done_undoes_all(fresh: Database) -> None:
    async def run() -> HotshelfError:
        async with opened(fresh) as shards:
            first, second = await _made(shards, fresh, 2)
            planned = [
                _replace(first, b'{"n": 1}', key("one")),
                _replace(second, b"{}", conditions=STALE),
                _create(b"{}", key("new")),
                _delete(bytes(16)),
            ]
            with pytest.raises(BatchFailed) as failed:
                await atomic_writer(shards, fresh).write(ALICE, planned)
            return failed.value

    error = asyncio.run(run())
    assert [location.pointer for location in error.locations] == ["/operations/1", "/operations/3"]
    assert error.locations[1].detail.startswith("failed with item-not-found: ")
    assert _versions(fresh) == [1, 1]
    assert count(fresh, "idempotency_keys") == 2


def test_the_same_again_is_replayed(fresh: Database) -> None:
    before: dict[str, float] = {"first": 0, "replayed": 0}

    async def run() -> tuple[list[Outcome], list[Outcome], BaseException]:
        async with opened(fresh) as shards:
            [item_id] = await _made(shards, fresh, 1)
            before.update({result: IDEMPOTENCY.of(result).value for result in before})
            new = key()
            planned = [_create(b'{"a": 1}', new), _replace(item_id, b'{"b": 2}', key("two"))]
            atomic = atomic_writer(shards, fresh)
            first, second = await atomic.write(ALICE, planned), await atomic.write(ALICE, planned)
            mixed = [planned[0], _replace(item_id, b"{}", key("three"))]
            [third] = await settled(atomic.write(ALICE, mixed))
            return first, second, third

    first, second, third = asyncio.run(run())
    assert _shown(first) == _shown(second)
    assert [o.item and o.item.id for o in first] == [o.item and o.item.id for o in second]
    assert [o.replayed for o in second] == [True, True]
    assert {result: IDEMPOTENCY.of(result).value - n for result, n in before.items()} == {
        "first": 2,
        "replayed": 2,
    }
    # A key that was used outside of this batch speaks for another request.
    assert isinstance(third, BatchFailed)
    assert third.locations[0].detail.startswith(f"failed with {IdempotencyKeyReused.code}: ")
    assert _versions(fresh) == [2, 1]


def test_batches_that_want_the_same_items_do_not_wait_for_each_other(fresh: Database) -> None:
    async def run() -> list[Any]:
        async with opened(fresh) as shards:
            ids = await _made(shards, fresh, 12)
            atomic = atomic_writer(shards, fresh)
            orders = [ids, ids[::-1], ids[6:] + ids[:6]]
            batches = [[_replace(i, b'{"n": 1}') for i in orders[n % 3]] for n in range(30)]
            return await settled(*(atomic.write(ALICE, batch) for batch in batches))

    answers = asyncio.run(run())
    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    assert _versions(fresh) == [31] * 12


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("mark", [b"BEGIN\0", b"COMMIT\0", b"INSERT", b"UPDATE"])
def test_an_answer_that_is_lost(fresh: Database, keyed: bool, mark: bytes) -> None:
    async def run() -> list[Outcome]:
        async with PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy:
            settings = replace(fresh, shards=((proxy.url,),))
            async with opened(settings) as shards:
                ids = await _made(shards, settings, 3)
                atomic = atomic_writer(shards, settings)
                await atomic.write(ALICE, [_replace(i, b"{}", key()) for i in ids])
                answers = itertools.count()
                proxy.swallow = lambda data: mark in data and next(answers) == 0
                planned = [_replace(i, b'{"n": 7}', key() if keyed else None) for i in ids]
                return await atomic.write(ALICE, planned)

    outcomes = asyncio.run(run())
    assert _shown(outcomes) == [("changed", 3, b'{"n": 7}')] * 3
    assert _versions(fresh) == [3] * 3


def test_an_unknown_outcome_is_reported_as_unknown(fresh: Database) -> None:
    async def run() -> None:
        async with PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy:
            settings = replace(fresh, shards=((proxy.url,),), timeout_s=2.0)
            async with opened(settings) as shards:
                ids = await _made(shards, settings, 2)
                proxy.swallow_from(b"COMMIT\0")
                atomic = atomic_writer(shards, settings)
                with pytest.raises(OutcomeUnknown):
                    await atomic.write(ALICE, [_replace(i, b'{"n": 7}') for i in ids])

    asyncio.run(run())
