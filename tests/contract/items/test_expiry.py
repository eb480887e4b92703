"""Records and tombstones end when their time is over, without a moment of doubt in between."""

import asyncio
import itertools

from service.items.decision import Conditions
from service.items.expiry import Expiry
from service.model.entity_tag import parse_tag_condition
from service.model.item import Item
from service.settings import Database, Writes
from tests.fixtures.databases import count
from tests.fixtures.stack import execute
from tests.fixtures.writers import ALICE, key, opened, workers

DATA = b'{"n": 1}'
ANY = Conditions(if_match=parse_tag_condition("*"))


def test_across_expiry_each_record_makes_one_item(fresh: Database) -> None:
    """Ten clients repeat one key across its expiry while the sweep never rests."""
    ttl_s = 1

    async def run() -> list[Item]:
        items: list[Item] = []
        async with workers(fresh, 2, ttl_s) as writers, opened(fresh) as shards:
            same = key()
            expiry = Expiry(shards, Writes(idempotency_ttl_s=ttl_s), margin_s=0)
            done = asyncio.Event()

            async def sweep() -> None:
                while not done.is_set():
                    await expiry.sweep(shards.all[0])

            async def client(n: int) -> None:
                for _ in range(60):
                    outcome = await writers[n % 2].create(ALICE, same, DATA)
                    assert outcome.item is not None
                    items.append(outcome.item)
                    await asyncio.sleep(0.05)

            sweeping = asyncio.ensure_future(sweep())
            await asyncio.gather(*(client(n) for n in range(10)))
            done.set()
            await sweeping
        return items

    lives = sorted({item.created_at for item in asyncio.run(run())})
    assert len(lives) > 1
    assert len(lives) == count(fresh)
    assert all((b - a).total_seconds() >= ttl_s for a, b in itertools.pairwise(lives))


def test_the_sweep_deletes_only_expired_rows(fresh: Database) -> None:
    url = fresh.shards[0][0]

    async def run() -> list[int]:
        async with workers(fresh, 1) as [writer], opened(fresh) as shards:
            expiry = Expiry(shards, Writes())
            made = [await writer.create(ALICE, key(str(n)), DATA) for n in range(4)]
            for outcome in made[:2]:
                assert outcome.item is not None
                await writer.delete(ALICE, outcome.item.id, ANY)
            swept = [await expiry.sweep(shards.all[0])]
            execute(
                url,
                "UPDATE idempotency_keys SET recorded_at = now() - (CASE key WHEN '0' THEN"
                " interval '24 h 59 min' ELSE interval '25 h 1 min' END) WHERE key < '2'",
            )
            execute(
                url,
                "UPDATE items SET deleted_at = now() - interval '30 days 1 min' WHERE id ="
                " (SELECT id FROM items WHERE deleted_at IS NOT NULL LIMIT 1)",
            )
            return [*swept, await expiry.sweep(shards.all[0])]

    assert asyncio.run(run()) == [0, 2]
    assert count(fresh) == 3
    left = execute(url, "SELECT key FROM idempotency_keys ORDER BY key")
    assert left == [("0",), ("2",), ("3",)]
