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


def test_items_end_with_their_time_or_their_collection(fresh: Database) -> None:
    """As tombstones of the next version, of which caches are told."""
    url = fresh.shards[0][0]
    execute(
        url,
        "INSERT INTO collections (number, name, version, definition, dropped_at) VALUES"
        """ (1, 'hour', 1, '{"ttl_s": 3600}', NULL), (2, 'ever', 2, '{"ttl_s": null}', NULL),"""
        " (3, NULL, 3, '{}', now())",
    )
    # In collection 1 one item is young, one was changed lately and one has ended.
    execute(
        url,
        "INSERT INTO items SELECT gen_random_uuid(), 'o', '{}', 7, made, changed, NULL, c"
        "  FROM (VALUES (0, now() - interval '9 h', now() - interval '9 h'),"
        "               (1, now(), now()),"
        "               (1, now() - interval '9 h', now() - interval '59 min'),"
        "               (1, now() - interval '9 h', now() - interval '61 min'),"
        "               (2, now() - interval '9 h', now() - interval '9 h'),"
        "               (3, now(), now())) AS v (c, made, changed)"
        " CROSS JOIN generate_series(1, 3)",
    )

    async def run() -> list[int]:
        async with opened(fresh) as shards:
            expiry = Expiry(shards, Writes())
            return [await expiry.sweep(shards.all[0]) for _ in range(2)]

    assert asyncio.run(run()) == [6, 0]
    rows = execute(
        url,
        "SELECT collection, data IS NULL, version, count(*),"
        "       count(*) FILTER (WHERE deleted_at = updated_at)"
        "  FROM items GROUP BY 1, 2, 3 ORDER BY 1, 2",
    )
    assert rows == [
        (0, False, 7, 3, 0),
        (1, False, 7, 6, 0),
        (1, True, 8, 3, 3),
        (2, False, 7, 3, 0),
        (3, True, 8, 3, 3),
    ]
    told = execute(url, "SELECT count(*) FROM cache_outbox JOIN items ON id = item_id")
    assert told == [(6,)]
