"""A slow or large write takes its own time: those that came with it are not failed by it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from service.items import write
from service.model.change import Outcome
from service.model.errors import DatabaseTimeout, OutcomeUnknown
from service.settings import Database
from tests.fixtures.mixed_writes import ANY, DATA, NEW, made, stored
from tests.fixtures.stack import execute
from tests.fixtures.writers import ALICE, key, settled, workers

SLOW = b'{"slow": true}'


def _slow_items(database: Database, seconds: float) -> None:
    """Items that say so take so long to write."""
    for statement in (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON items FOR EACH ROW"
        " WHEN (NEW.data ? 'slow') EXECUTE FUNCTION slow()",
    ):
        execute(database.shards[0][0], statement)


@pytest.mark.parametrize("keyed", [True, False])
def test_changes_beside_one_that_takes_too_long_are_made(fresh: Database, keyed: bool) -> None:
    _slow_items(fresh, 60)

    async def run() -> list[Any]:
        async with workers(replace(fresh, timeout_s=4.0), 1) as [writes]:
            ids = await made(writes, 6)
            payloads = [NEW, NEW, SLOW, NEW, NEW, NEW]
            return await settled(
                *(
                    writes.replace(ALICE, item_id, data, ANY, key() if keyed else None)
                    for item_id, data in zip(ids, payloads, strict=True)
                )
            )

    results = asyncio.run(run())
    # COMMIT is sent with the change, and without a key no record shows its outcome.
    assert isinstance(results.pop(2), DatabaseTimeout if keyed else OutcomeUnknown)
    assert [type(result) for result in results] == [Outcome] * 5
    assert [version for version, _ in stored(fresh)] == [2, 2, 1, 2, 2, 2]


def test_creations_beside_one_that_takes_too_long_are_made(fresh: Database) -> None:
    _slow_items(fresh, 60)

    async def run() -> list[Any]:
        async with workers(replace(fresh, timeout_s=4.0), 1) as [writes]:
            return await settled(
                *(writes.create(ALICE, key(), data) for data in (DATA, DATA, DATA, SLOW, DATA))
            )

    results = asyncio.run(run())
    assert isinstance(results.pop(3), DatabaseTimeout)
    assert [type(result) for result in results] == [Outcome] * 4
    assert len(stored(fresh)) == 4


def test_large_payloads_share_no_transaction(fresh: Database) -> None:
    large = b'{"text": "%b"}' % (b"x" * write._LARGE_BYTES)

    async def run() -> None:
        async with workers(fresh, 1) as [writes]:
            payloads = [DATA, large, DATA, large, DATA]
            await asyncio.gather(*(writes.create(ALICE, key(), data) for data in payloads))

    asyncio.run(run())
    found = execute(
        fresh.shards[0][0],
        "SELECT xmin::text, count(*) FROM items GROUP BY xmin::text ORDER BY count(*)",
    )
    assert [count for _, count in found] == [1, 1, 3]
