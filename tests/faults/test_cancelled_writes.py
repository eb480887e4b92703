"""Tasks cancelled at any await lose no connection, and leave no half of a write."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from service.items.decision import Conditions
from service.model.change import Outcome
from service.model.entity_tag import parse_tag_condition
from service.settings import Database
from service.store.shards import Shard, Shards
from tests.fixtures.databases import count
from tests.fixtures.stack import eventually, execute
from tests.fixtures.writers import ALICE, Writes, key, opened, settled, writer

DATA = b'{"n": 1}'
ANY = Conditions(if_match=parse_tag_condition("*"))
REQUESTS = 1200
AFTERWARDS = 200


def _slow_down(url: str, seconds: float) -> None:
    execute(
        url,
        "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$",
    )
    execute(
        url,
        "CREATE OR REPLACE TRIGGER slow BEFORE INSERT OR UPDATE ON items FOR EACH ROW"
        " EXECUTE FUNCTION slow()",
    )


async def _look_up(shard: Shard, item_id: bytes) -> None:
    async with shard.primary() as connection:
        await connection.execute("SELECT data FROM items WHERE id = %s", (item_id.hex(),))


async def _cancelled_at_random(
    writes: Writes, shards: Shards, item_ids: list[bytes], rng: random.Random
) -> None:
    async def one() -> None:
        chosen = rng.choice(item_ids)
        ways: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: writes.create(ALICE, key(), DATA),
            lambda: writes.replace(ALICE, chosen, DATA, ANY, key()),
            lambda: writes.replace(ALICE, chosen, DATA, ANY),
            lambda: _look_up(shards.all[0], chosen),
        ]
        work = rng.choice(ways)()
        task = asyncio.ensure_future(work)
        await asyncio.sleep(rng.uniform(0, 0.4))
        task.cancel()
        await asyncio.wait({task})

    for _ in range(REQUESTS // 60):
        await asyncio.gather(*(one() for _ in range(60)))


def test_cancelled_writes_leave_nothing_behind(fresh: Database) -> None:
    settings = replace(fresh, timeout_s=10.0)
    url = settings.shards[0][0]
    rng = random.Random(21)

    async def run() -> list[Outcome]:
        async with opened(settings) as shards:
            writes = writer(shards, settings)
            made = await asyncio.gather(*(writes.create(ALICE, key(), DATA) for _ in range(40)))
            item_ids = [outcome.item.id for outcome in made if outcome.item is not None]
            await asyncio.to_thread(_slow_down, url, 0.2)
            await _cancelled_at_random(writes, shards, item_ids, rng)
            await asyncio.to_thread(_slow_down, url, 0)
            others = "datname = current_database() AND application_name = 'hotshelf'"
            await asyncio.to_thread(
                eventually,
                url,
                f"SELECT count(*) FROM pg_stat_activity WHERE {others} AND state <> 'idle'",
                0,
            )
            after = [writes.create(ALICE, key(), DATA) for _ in range(AFTERWARDS)]
            changes = [writes.replace(ALICE, i, DATA, ANY) for i in item_ids]
            return await settled(*after, *changes)

    outcomes = asyncio.run(run())
    assert [o for o in outcomes if not isinstance(o, Outcome)] == []
    created = execute(
        url,
        "SELECT count(*) FILTER (WHERE items.id IS NULL) FROM idempotency_keys"
        " LEFT JOIN items ON items.id = item_id WHERE outcome = 'created'",
    )
    assert created == [(0,)], "a record without its item"
    posts = execute(url, "SELECT count(*) FROM idempotency_keys WHERE outcome = 'created'")
    assert posts == [(count(settings),)], "an item without its record"
    pending = execute(
        url,
        "SELECT count(*) FROM items WHERE version > 1 AND NOT EXISTS (SELECT FROM cache_outbox o"
        " WHERE o.item_id = items.id AND o.version = items.version)",
    )
    assert pending == [(0,)], "a change without its outbox row"
