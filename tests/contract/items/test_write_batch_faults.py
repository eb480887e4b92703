"""Batches of changes that meet locked rows, other batches, lost answers and their own deadline."""

import asyncio
import itertools
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from service.flow.deadline import TimeLimit
from service.model.change import Outcome
from service.model.errors import DatabaseTimeout, OutcomeUnknown
from service.model.item import Item
from service.settings import Database
from tests.fixtures.mixed_writes import ANY, NEW, made, mixed, stored
from tests.fixtures.postgres_proxy import PostgresProxy
from tests.fixtures.stack import execute
from tests.fixtures.writers import ALICE, Writes, key, opened, settled, workers, writer

_WAITING_FOR_LOCKS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND datname = current_database()"""


def test_no_group_waits_for_a_locked_row(fresh: Database) -> None:
    """Neither in a batch with it nor behind it, however many want it."""

    async def run() -> None:
        async with (
            opened(fresh) as shards,
            shards.all[0].primary() as holder,
        ):
            writes = writer(shards, fresh)
            held, *ids = await made(writes, 13)
            await holder.execute("BEGIN")
            await holder.execute("SELECT FROM items WHERE id = %s FOR UPDATE", (held.hex(),))
            waiting = []
            for _ in range(fresh.pool_size // 2):
                waiting.append(asyncio.ensure_future(writes.replace(ALICE, held, NEW, ANY)))
                await asyncio.sleep(0.01)
            with_it = asyncio.ensure_future(writes.replace(ALICE, held, NEW, ANY, key()))
            await asyncio.gather(*mixed(writes, ids))
            assert not any(one.done() for one in (*waiting, with_it))
            await holder.execute("COMMIT")
            await asyncio.gather(*waiting, with_it)

    asyncio.run(run())
    assert [version for version, _ in stored(fresh)] == [2 + fresh.pool_size // 2] + [2] * 12


def test_changes_of_one_item_hold_one_connection(fresh: Database) -> None:
    """Others get theirs, although more changes wait than there are connections."""

    async def run() -> None:
        async with opened(fresh) as shards, shards.all[0].primary() as holder:
            writes = writer(shards, fresh)
            held, other = await made(writes, 2)
            await holder.execute("BEGIN")
            await holder.execute("SELECT FROM items WHERE id = %s FOR UPDATE", (held.hex(),))
            waiting = [
                asyncio.ensure_future(writes.replace(ALICE, held, NEW, ANY))
                for _ in range(3 * fresh.pool_size)
            ]
            # Each twice as long as a group waits for another one's turn.
            for _ in range(10):
                await asyncio.sleep(0.02)
                await writes.replace(ALICE, other, NEW, ANY)
            asked = await holder.execute(_WAITING_FOR_LOCKS)
            assert await asked.fetchall() == [(1,)]
            assert not any(one.done() for one in waiting)
            await holder.execute("COMMIT")
            await asyncio.gather(*waiting)

    asyncio.run(run())
    assert sorted(version for version, _ in stored(fresh)) == [11, 1 + 3 * fresh.pool_size]


def test_overlapping_batches_of_several_workers_do_not_deadlock(fresh: Database) -> None:
    rounds, of_one = 15, 10
    rng = random.Random(80)

    async def run() -> list[bytes]:
        async with workers(fresh, 3) as writers:
            ids = await made(writers[0], 20)

            async def client(writes: Writes) -> None:
                for _ in range(rounds):
                    chosen = rng.sample(ids, of_one)
                    keys = rng.choices([key(), None], k=of_one)
                    pairs = zip(chosen, keys, strict=True)
                    await asyncio.gather(*(writes.replace(ALICE, i, NEW, ANY, k) for i, k in pairs))

            await asyncio.gather(*(client(writes) for writes in writers for _ in range(2)))
        return ids

    ids = asyncio.run(run())
    assert sum(version - 1 for version, _ in stored(fresh)) == 6 * rounds * of_one
    assert len(ids) == 20
    found = execute(
        fresh.shards[0][0],
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    )
    assert found == [(0,)]


@pytest.mark.parametrize("piece", [b"BEGIN\0", b"COMMIT\0"])
def test_a_batch_whose_answer_is_lost(fresh: Database, piece: bytes) -> None:
    """Every change is there once, and is answered as if nothing had happened."""

    async def run() -> list[Outcome]:
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),)), 1) as [writes],
        ):
            ids = await made(writes, 12)
            answers = itertools.count()
            proxy.swallow = lambda data: piece in data and next(answers) == 0
            outcomes = await asyncio.gather(*mixed(writes, ids))
            assert next(answers) > 0
            return outcomes

    outcomes = asyncio.run(run())
    stored = execute(
        fresh.shards[0][0],
        "SELECT version, data::text, created_at, updated_at FROM items ORDER BY id",
    )
    assert [row[0] for row in stored] == [2] * 12
    shown = [o.item and (2, (o.item.data or b"").decode(), *_times(o.item)) for o in outcomes]
    assert shown == [row if row[1] is not None else None for row in stored]
    assert [o.kind for o in outcomes] == (["changed"] * 4 + ["deleted"] * 2) * 2
    if piece.startswith(b"COMMIT"):
        assert [o.replayed for o in outcomes] == [False, True] * 6


def _times(item: Item) -> tuple[datetime, datetime]:
    return item.created_at, item.updated_at


def test_the_outcome_of_a_lost_batch_is_unknown_to_requests_without_a_key(
    fresh: Database,
) -> None:
    async def run() -> list[Any]:
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),), timeout_s=2.0), 1) as [writes],
        ):
            ids = await made(writes, 6)
            proxy.swallow_from(b"COMMIT\0")
            return await settled(*mixed(writes, ids))

    errors = asyncio.run(run())
    assert [isinstance(error, OutcomeUnknown) for error in errors] == [True, False] * 3
    assert all(error.retry_after_s is not None for error in errors)


def test_requests_past_their_deadline_are_left_out(fresh: Database) -> None:
    """Its batch had no connection until then, and changes the others."""

    async def run() -> None:
        async with opened(fresh) as shards, AsyncExitStack() as held:
            writes = writer(shards, fresh)
            late, *ids = await made(writes, 7)
            for _ in range(fresh.pool_size):
                await held.enter_async_context(shards.all[0].primary(reading=True))
            patient, writes.policy._limit = writes.policy._limit, TimeLimit(0.2)
            too_late = asyncio.ensure_future(writes.replace(ALICE, late, NEW, ANY))
            await asyncio.sleep(0)
            writes.policy._limit = patient
            others = asyncio.gather(*mixed(writes, ids))
            with pytest.raises(DatabaseTimeout):
                await too_late
            await held.aclose()
            await others

    asyncio.run(run())
    assert [version for version, _ in stored(fresh)] == [1] + [2] * 6
