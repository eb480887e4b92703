"""A COMMIT whose wait for its synchronous replica is cut short is not acknowledged."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from service.embedded import EmbeddedStack
from service.items.decision import Conditions
from service.model.change import Committed, Outcome
from service.model.entity_tag import parse_tag_condition
from service.model.errors import HotshelfError, OutcomeUnknown, ShardUnavailable
from service.settings import Database
from service.store.migrate import migrate
from service.store.outbox import clear_outbox
from tests.fixtures.stack import eventually, execute
from tests.fixtures.writers import ALICE, key, opened, settled, workers, writer

DATA = b'{"n": 1}'
ANY = Conditions(if_match=parse_tag_condition("*"))
WAITING = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'hotshelf'"


@pytest.fixture
def settings(small_stack: EmbeddedStack) -> Database:
    """One shard whose COMMITs wait for its replica."""
    settings = Database(shards=((small_stack.shards[0][0],),), timeout_s=20.0)
    migrate(settings)
    url = small_stack.shards[0][0]
    execute(url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    execute(url, "SELECT pg_reload_conf()")
    eventually(url, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", 1)
    return settings


@contextmanager
def _frozen(stack: EmbeddedStack) -> Iterator[None]:
    replica = stack.node(0, 1)
    replica.pause()
    try:
        yield
    finally:
        replica.resume()


async def _cancel_wait(url: str) -> None:
    """As an operator would who sees COMMITs hang."""
    await asyncio.to_thread(eventually, url, f"SELECT count(*) {WAITING}", 1)
    await asyncio.to_thread(execute, url, f"SELECT pg_cancel_backend(pid) {WAITING}")


@pytest.mark.parametrize("kind", ["POST", "PUT"])
def test_a_cut_wait_is_waited_for_again(
    small_stack: EmbeddedStack, settings: Database, kind: str
) -> None:
    """Cut once, it is acknowledged only when the replica has it; cut again, it is unknown."""
    url = settings.shards[0][0]

    async def run() -> Outcome:
        async with workers(settings, 1) as [writer]:
            made = await writer.create(ALICE, key(), DATA)
            assert made.item is not None
            item_id = made.item.id

            def write() -> asyncio.Future[Outcome]:
                if kind == "POST":
                    return asyncio.ensure_future(writer.create(ALICE, key(), DATA))
                return asyncio.ensure_future(writer.replace(ALICE, item_id, DATA, ANY))

            with _frozen(small_stack):
                unknown = write()
                await _cancel_wait(url)
                await _cancel_wait(url)
                with pytest.raises(OutcomeUnknown):
                    await unknown
                late = write()
                await _cancel_wait(url)
                await asyncio.to_thread(eventually, url, f"SELECT count(*) {WAITING}", 1)
                assert not late.done()
            return await late

    outcome = asyncio.run(run())
    assert outcome.item is not None
    assert not outcome.replayed
    stored = execute(url, f"SELECT version FROM items WHERE id = '{outcome.item.id.hex()}'")
    assert stored == [(outcome.item.version,)]


def test_a_wait_that_never_ends_is_not_acknowledged(
    small_stack: EmbeddedStack, settings: Database
) -> None:
    """No limit of PostgreSQL ends a COMMIT; the request's own does, and a retry finds it."""

    async def run() -> tuple[str, Outcome]:
        async with workers(replace(settings, timeout_s=1.0), 1) as [writer]:
            made = await writer.create(ALICE, key(), DATA)
            assert made.item is not None
            with _frozen(small_stack), pytest.raises(OutcomeUnknown) as unknown:
                await writer.replace(ALICE, made.item.id, DATA, ANY)
            changed = await writer.replace(ALICE, made.item.id, DATA, ANY)
            return unknown.value.code, changed

    code, changed = asyncio.run(run())
    assert code == "outcome-unknown"
    assert changed.item is not None
    assert changed.item.version in (2, 3)


def test_commits_that_hang_are_bounded_and_leave_connections_to_reads(
    small_stack: EmbeddedStack, settings: Database
) -> None:
    """Their server processes do not notice that their clients have left."""
    url = settings.shards[0][0]
    few = replace(settings, timeout_s=0.5, pool_size=4)

    async def run() -> str:
        async with opened(few) as shards:
            [shard] = shards.all
            writes = writer(shards, few)
            assert (await writes.create(ALICE, key(), DATA)).item is not None
            with _frozen(small_stack):
                for _ in range(6):
                    outcomes = await settled(*(writes.create(ALICE, key(), DATA) for _ in range(8)))
                    assert all(isinstance(outcome, HotshelfError) for outcome in outcomes)
                [[waiting]] = await asyncio.to_thread(execute, url, f"SELECT count(*) {WAITING}")
                assert waiting == 3
                assert shard.hanging == 3
                with pytest.raises(ShardUnavailable, match="standby"):
                    async with shard.primary():
                        pytest.fail("one more may hang")
                async with shard.primary(reading=True) as connection:
                    rows = await (await connection.execute("SELECT count(*) FROM items")).fetchall()
                    assert rows == [(1,)]
                change = Committed(bytes(16), 1, 1)
                await asyncio.wait_for(clear_outbox(shard, [change]), 30)
            await asyncio.to_thread(eventually, url, f"SELECT count(*) {WAITING}", 0)
            for _ in range(500):
                if not shard.hanging:
                    break
                await asyncio.sleep(0.02)
            return (await writes.create(ALICE, key(), DATA)).kind

    assert asyncio.run(run()) == "created"
