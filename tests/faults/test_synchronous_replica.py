"""A COMMIT whose wait for its synchronous replica is cut short is not acknowledged."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from service.embedded import EmbeddedStack
from service.items.decision import Conditions
from service.model.change import Outcome
from service.model.entity_tag import parse_tag_condition
from service.model.errors import OutcomeUnknown
from service.settings import Database
from service.store.migrate import migrate
from tests.fixtures.stack import eventually, execute
from tests.fixtures.writers import ALICE, key, workers

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
