"""Retries of changes of definitions under one idempotency key."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.items.decision import Conditions
from service.model.change import Claim
from service.model.collection import Definition
from service.model.entity_tag import parse_tag_condition
from service.model.errors import IdempotencyKeyReused
from service.settings import Database
from tests.fixtures.collections import Operator, operator
from tests.fixtures.stack import execute

NEW = Conditions(if_none_match=parse_tag_condition("*"))
ANY = Conditions(if_match=parse_tag_condition("*"))
NONE = Conditions()


def _run(database: Database, work: Callable[[Operator], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with operator(database) as one:
            await work(one)

    asyncio.run(scenario())


def test_many_retries_at_once_make_one_change(two_shards: Database) -> None:
    claim = Claim(0, "olga", b"products", "k", b"f" * 32)

    async def work(one: Operator) -> None:
        async with operator(two_shards) as other:
            made = await asyncio.gather(
                *(
                    (one, other)[n % 2].changes.put("products", Definition(), NEW, claim)
                    for n in range(10)
                )
            )
        assert {(c.number, c.version, is_new) for c, is_new, _ in made} == {(1, 1, True)}
        assert [replayed for _, _, replayed in made].count(False) == 1
        dropping = claim._replace(key="d")
        dropped = await asyncio.gather(
            *(one.changes.drop("products", NONE, True, dropping) for _ in range(5))
        )
        assert dropped.count(True) == 1
        await one.changes.put("products", Definition(), NEW)
        other_request = claim._replace(fingerprint=b"g" * 32)
        with pytest.raises(IdempotencyKeyReused):
            await one.changes.put("products", Definition(ttl_s=1), ANY, other_request)

    _run(two_shards, work)


def test_a_record_ends(two_shards: Database) -> None:
    claim = Claim(0, "olga", b"products", "k", b"f" * 32)

    async def work(one: Operator) -> None:
        await one.changes.put("products", Definition(), NEW, claim)
        first = two_shards.shards[0][0]
        execute(first, "UPDATE collection_requests SET recorded_at = now() - interval '61 s'")
        changed = await one.changes.put("products", Definition(ttl_s=1), ANY, claim)
        assert (changed.is_new, changed.replayed) == (False, False)
        [(records,)] = execute(first, "SELECT count(*) FROM collection_requests")
        assert records == 1

    _run(two_shards, work)
