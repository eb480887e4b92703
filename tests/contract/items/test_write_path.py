"""The write path's use of connections, and its errors when they fail."""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from service import native
from service.items.decision import Conditions
from service.model.change import Outcome
from service.model.entity_tag import parse_tag_condition
from service.model.errors import HotshelfError, OutcomeUnknown
from service.settings import Database
from service.store.shards import Shards
from tests.fixtures.databases import count
from tests.fixtures.postgres_proxy import PostgresProxy
from tests.fixtures.stack import execute
from tests.fixtures.writers import ALICE, Writes, key, opened, settled, workers, writer

DATA = b'{"n": 1}'
ANY = Conditions(if_match=parse_tag_condition("*"))


def _patched(_: object) -> bytes:
    return b'{"n": 2}'


def test_round_trips_of_a_write(fresh: Database) -> None:
    """POST 1, PUT and DELETE 2, with a key or without; a replay 2."""

    async def run() -> dict[str, int]:
        found = {}
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),)), 1) as [writer],
        ):

            async def counted(name: str, request: Any) -> Outcome:
                before = proxy.round_trips
                outcome: Outcome = await request
                found[name] = proxy.round_trips - before
                return outcome

            post, put = key(), key()
            made = await counted("POST", writer.create(ALICE, post, DATA))
            await counted("POST again", writer.create(ALICE, post, DATA))
            assert made.item is not None
            item_id = made.item.id
            await counted("PUT", writer.replace(ALICE, item_id, DATA, ANY))
            await counted("PUT, key", writer.replace(ALICE, item_id, DATA, ANY, put))
            await counted("PUT again", writer.replace(ALICE, item_id, DATA, ANY, put))
            await counted("PATCH, key", writer.patch(ALICE, item_id, _patched, ANY, key()))
            await counted("DELETE, key", writer.delete(ALICE, item_id, ANY, key()))
        return found

    found = asyncio.run(run())
    print(found)  # noqa: T201  # what `make bench` quotes
    assert found.pop("POST") == 1
    assert set(found.values()) == {2}


async def _on_every_connection(shards: Shards, pool_size: int, statement: bytes) -> None:
    node = shards.all[0].nodes[0]

    async def one(everybody: asyncio.Barrier) -> None:
        async with node.connection(reading=True) as connection:
            await everybody.wait()
            await connection.execute(statement)

    barrier = asyncio.Barrier(pool_size)
    await asyncio.gather(*(one(barrier) for _ in range(pool_size)))


@pytest.mark.parametrize("statement", [b"DEALLOCATE ALL", b"DISCARD ALL"])
def test_prepared_statements_that_vanish_are_not_noticed(fresh: Database, statement: bytes) -> None:
    """SQLSTATE 26000 says that nothing ran."""

    async def run() -> None:
        async with opened(fresh) as shards:
            writes = writer(shards, fresh)
            for _ in range(3):
                made = await asyncio.gather(*(writes.create(ALICE, key(), DATA) for _ in range(30)))
                ids = [outcome.item.id for outcome in made if outcome.item is not None]
                await asyncio.gather(*(writes.replace(ALICE, i, DATA, ANY) for i in ids))
                await _on_every_connection(shards, fresh.pool_size, statement)
                await asyncio.gather(*(writes.replace(ALICE, i, DATA, ANY, key()) for i in ids))

    asyncio.run(run())
    versions = execute(fresh.shards[0][0], "SELECT DISTINCT version FROM items")
    assert versions == [(3,)]


def test_a_primary_found_and_lost_again_is_waited_for(fresh: Database) -> None:
    """Whoever waits gets its turn only after others have met the next broken connection."""

    async def run() -> None:
        async with opened(fresh) as shards:
            [shard] = shards.all
            node = shard.nodes[0]

            async def ask() -> bool:
                async with shard.primary() as connection:
                    return bool(await connection.execute("SELECT 1"))

            shard._primary = None
            shard._answered.clear()
            asking = asyncio.create_task(ask())
            await asyncio.sleep(0)
            shard._primary = node
            shard._answered.set()
            shard._primary = None
            shard._answered.clear()
            assert await asking

    asyncio.run(run())


def test_a_migration_under_load_is_not_noticed(fresh: Database) -> None:
    """Cached plans whose table changed, and (0A000) those whose result type did."""

    async def run() -> list[Outcome]:
        async with workers(fresh) as writers:
            made = await writers[0].create(ALICE, key(), DATA)
            assert made.item is not None
            item_id = made.item.id
            done: list[Outcome] = []

            async def client(writer: Writes) -> None:
                for _ in range(20):
                    done.append(await writer.create(ALICE, key(), DATA))
                    done.append(await writer.replace(ALICE, item_id, DATA, ANY))

            clients = [asyncio.ensure_future(client(w)) for w in writers * 4]
            for change in (
                "ADD extra integer DEFAULT 1",
                "ALTER owner_id TYPE varchar(300)",
                "ALTER owner_id TYPE text",
                "DROP extra",
            ):
                await asyncio.to_thread(execute, fresh.shards[0][0], f"ALTER TABLE items {change}")
            await asyncio.gather(*clients)
        return done

    assert len(asyncio.run(run())) == 320
    assert count(fresh) == 161


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("piece", [0, 1])
def test_a_commit_whose_answer_is_lost(fresh: Database, keyed: bool, piece: int) -> None:
    """The change is there once and is answered as if nothing had happened, with a key or without.

    What is swallowed is the answer to BEGIN and what follows, or that to the change and COMMIT.
    """

    async def run() -> tuple[Outcome, Outcome]:
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),)), 1) as [writer],
        ):
            made = await writer.create(ALICE, key(), DATA)
            assert made.item is not None
            await writer.replace(ALICE, made.item.id, DATA, ANY, key())
            answers = itertools.count()
            marks = (b"BEGIN\0", b"COMMIT\0")
            proxy.swallow = lambda data: marks[piece] in data and next(answers) == 0
            same = key() if keyed else None
            changed = await writer.replace(ALICE, made.item.id, b'{"n": 7}', ANY, same)
            assert next(answers) > 0
            return made, changed

    made, changed = asyncio.run(run())
    assert made.item is not None
    assert changed.item is not None
    assert (changed.item.version, changed.item.data) == (3, b'{"n": 7}')
    assert changed.item.created_at == made.item.created_at
    [[version, data, updated_at]] = execute(
        fresh.shards[0][0], "SELECT version, data, updated_at FROM items"
    )
    assert (version, data, updated_at) == (3, {"n": 7}, changed.item.updated_at)


def test_a_post_whose_answer_is_lost_makes_one_item(fresh: Database) -> None:
    async def run() -> list[Any]:
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),)), 1) as [writer],
        ):
            await writer.create(ALICE, key(), DATA)
            answers = itertools.count()
            proxy.swallow = lambda data: b"INSERT" not in data and next(answers) % 5 == 0
            return await settled(*(writer.create(ALICE, key(), DATA) for _ in range(100)))

    outcomes = asyncio.run(run())
    assert not [o for o in outcomes if isinstance(o, BaseException) and not _busy(o)]
    assert count(fresh) >= 1 + sum(isinstance(o, Outcome) for o in outcomes)


def _busy(error: BaseException) -> bool:
    return isinstance(error, HotshelfError) and error.retry_after_s is not None


def test_an_unknown_outcome_is_reported_as_unknown(fresh: Database) -> None:
    """Without a key, and with the server gone for good after COMMIT was sent."""

    async def run() -> None:
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),), timeout_s=2.0), 1) as [writer],
        ):
            made = await writer.create(ALICE, key(), DATA)
            assert made.item is not None
            proxy.swallow_from(b"COMMIT\0")
            with pytest.raises(OutcomeUnknown):
                await writer.replace(ALICE, made.item.id, DATA, ANY)

    asyncio.run(run())


def test_a_change_that_is_made_and_cannot_be_shown_is_not_made_again(fresh: Database) -> None:
    """The answer to COMMIT is lost, and then every answer that would have the stored text."""

    async def run() -> None:
        async with (
            PostgresProxy.in_front_of(fresh.shards[0][0]) as proxy,
            workers(replace(fresh, shards=((proxy.url,),)), 1) as [writer],
        ):
            made = await writer.create(ALICE, key(), DATA)
            assert made.item is not None
            answers = itertools.count()
            proxy.swallow = lambda data: (
                b"hashtextextended\0" in data or (b"COMMIT\0" in data and next(answers) == 0)
            )
            with pytest.raises(OutcomeUnknown):
                await writer.replace(ALICE, made.item.id, b'{"n": 7}', ANY)
            assert next(answers) > 0

    asyncio.run(run())
    assert execute(fresh.shards[0][0], "SELECT version FROM items") == [(2,)]


def test_a_bucket_that_moved_away_changes_nothing(fresh: Database) -> None:
    """Neither 404 nor 412 nor an error of the driver: 503, until the map says where it is."""
    url = fresh.shards[0][0]
    absent = native.mint_in_bucket(1, 3, 16)
    for statement in (
        "ALTER TABLE items DETACH PARTITION items_0003",
        "ALTER TABLE idempotency_keys DETACH PARTITION idempotency_keys_0003",
        "DELETE FROM owned_buckets WHERE bucket = 3",
    ):
        execute(url, statement)

    async def run() -> list[Any]:
        async with workers(replace(fresh, timeout_s=0.5), 1) as [writer]:
            return await settled(
                writer.delete(ALICE, absent, ANY),
                writer.delete(ALICE, absent, ANY, key()),
                writer.replace(ALICE, absent, DATA, Conditions(), key()),
            )

    codes = {e.code for e in asyncio.run(run())}
    assert codes <= {"shard-unavailable", "database-timeout"}
    assert count(fresh) == count(fresh, "idempotency_keys") == 0
