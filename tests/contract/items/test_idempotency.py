"""One effect per key despite concurrency: the write path on a real database.

Two writers stand for two workers: they share nothing but the database.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from service import native
from service.items.decision import Conditions
from service.items.planned import IdempotencyKey
from service.model.change import Outcome
from service.model.entity_tag import parse_tag_condition
from service.model.errors import (
    HotshelfError,
    IdempotencyKeyReused,
    InvalidContent,
    ItemNotFound,
    PatchTestFailed,
    PreconditionFailed,
    RequestInProgress,
)
from service.model.item import Item
from service.settings import Database
from tests.fixtures.databases import count
from tests.fixtures.stack import execute
from tests.fixtures.writers import ADMIN, ALICE, Writes, key, settled, workers

DATA = b'{"n": 1.10, "t": "x"}'
ANY = Conditions(if_match=parse_tag_condition("*"))


def _slow(database: Database, table: str, seconds: float) -> None:
    url = database.shards[0][0]
    execute(
        url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$",
    )
    execute(
        url,
        f"CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW"
        " EXECUTE FUNCTION slow()",
    )


def test_duplicates_on_two_workers_make_one_item(fresh: Database) -> None:
    """50 at once, in the database itself, the INSERT slowed to half a second."""
    _slow(fresh, "items", 0.5)

    async def run() -> list[Any]:
        async with workers(fresh) as writers:
            same = key()
            return await settled(*(writers[n % 2].create(ALICE, same, DATA) for n in range(50)))

    answers = asyncio.run(run())
    items = {a.item for a in answers if isinstance(a, Outcome)}
    assert len(items) == 1
    assert {type(a) for a in answers} <= {Outcome, RequestInProgress}
    assert all(a.retry_after_s == 1 for a in answers if isinstance(a, RequestInProgress))
    assert count(fresh) == count(fresh, "idempotency_keys") == 1


def test_a_duplicate_that_runs_longer_than_a_second_is_in_progress(fresh: Database) -> None:
    _slow(fresh, "items", 2.5)

    async def run() -> tuple[list[Any], Outcome]:
        async with workers(fresh) as writers:
            same = key()
            answers = await settled(*(w.create(ALICE, same, DATA) for w in writers))
            return answers, await writers[1].create(ALICE, same, DATA)

    answers, after = asyncio.run(run())
    assert {type(a) for a in answers} == {Outcome, RequestInProgress}
    assert after.replayed
    assert after.item in [a.item for a in answers if isinstance(a, Outcome)]


Write = Callable[[Writes, bytes, IdempotencyKey], Any]


def _patched(item: Item) -> bytes:
    assert item.data is not None
    return item.data.replace(b"1.10", b"1.1" + b"0" * item.version)


def _failing(_: Item) -> bytes:
    raise PatchTestFailed("A test of the patch failed.")


WRITES: dict[str, Write] = {
    "replace": lambda w, i, k: w.replace(ALICE, i, DATA, ANY, k),
    "patch": lambda w, i, k: w.patch(ALICE, i, _patched, ANY, k),
    "delete": lambda w, i, k: w.delete(ALICE, i, ANY, k),
}


@pytest.mark.parametrize("kind", WRITES)
def test_one_change_a_key(fresh: Database, kind: str) -> None:
    """Twelve at once over two workers, then again: one version more, one answer."""
    _slow(fresh, "items", 0.05)

    async def run() -> tuple[list[Any], Outcome]:
        async with workers(fresh) as writers:
            made = await writers[0].create(ALICE, key(), DATA)
            assert made.item is not None
            same, item_id = key(), made.item.id
            duplicates = await settled(
                *(WRITES[kind](writers[n % 2], item_id, same) for n in range(12))
            )
            return duplicates, await WRITES[kind](writers[1], item_id, same)

    duplicates, after = asyncio.run(run())
    assert {(t.kind, t.item) for t in duplicates} == {(after.kind, after.item)}
    assert after.replayed
    assert [t.replayed for t in duplicates].count(False) == 1
    assert execute(fresh.shards[0][0], "SELECT version FROM items") == [(2,)]


def test_a_replay_is_the_first_answer_despite_later_changes(fresh: Database) -> None:
    async def run() -> list[tuple[Outcome, Outcome]]:
        pairs = []
        async with workers(fresh) as [first, second]:
            post = key()
            made = await first.create(ALICE, post, DATA)
            assert made.item is not None
            item_id = made.item.id
            done = []
            for kind in ("replace", "patch", "delete"):
                same = key()
                done.append((await WRITES[kind](first, item_id, same), kind, same))
            pairs.append((made, await second.create(ALICE, post, DATA)))
            for answer, kind, same in done:
                pairs.append((answer, await WRITES[kind](second, item_id, same)))
            with pytest.raises(ItemNotFound):
                await second.delete(ALICE, item_id, ANY)
        return pairs

    for answer, replay in asyncio.run(run()):
        assert not answer.replayed
        assert replay == answer._replace(replayed=True)


def test_an_admin_s_change_keeps_the_owner_in_its_replay(fresh: Database) -> None:
    async def run() -> tuple[Outcome, Outcome]:
        async with workers(fresh) as [first, second]:
            made = await first.create(ALICE, key(), DATA)
            assert made.item is not None
            same = key()
            changed = await first.replace(ADMIN, made.item.id, DATA, ANY, same)
            return changed, await second.replace(ADMIN, made.item.id, DATA, ANY, same)

    changed, replay = asyncio.run(run())
    assert changed.item == replay.item
    assert replay.item is not None
    assert replay.item.owner_id == "alice"


@pytest.mark.parametrize("known", ["in the database", "in this worker"])
def test_the_same_key_with_another_request(fresh: Database, known: str) -> None:
    """At any moment: while the first runs, and when it is done; the first answer stays."""
    _slow(fresh, "items", 0.3)

    async def run() -> None:
        async with workers(fresh) as writers:
            other = writers[0 if known == "in this worker" else 1]
            name = key().key
            first = asyncio.ensure_future(writers[0].create(ALICE, key(name, b"a"), DATA))
            await asyncio.sleep(0.1)
            with pytest.raises(IdempotencyKeyReused):
                await other.create(ALICE, key(name, b"b"), b"{}")
            made = await first
            with pytest.raises(IdempotencyKeyReused):
                await other.create(ALICE, key(name, b"b"), b"{}")
            assert (await other.create(ALICE, key(name, b"a"), DATA)).item == made.item

    asyncio.run(run())
    assert count(fresh) == 1


def _stored_errors(item_id: bytes) -> list[tuple[type[HotshelfError], Write]]:
    stale = Conditions(if_match=parse_tag_condition('"7-00000000"'))
    absent = native.mint_in_bucket(1, 0, 1)
    return [
        (PreconditionFailed, lambda w, _, k: w.replace(ALICE, item_id, DATA, stale, k)),
        (PatchTestFailed, lambda w, _, k: w.patch(ALICE, item_id, _failing, ANY, k)),
        (ItemNotFound, lambda w, _, k: w.delete(ALICE, absent, Conditions(), k)),
    ]


def test_errors_that_the_item_s_state_decided_are_kept(fresh: Database) -> None:
    async def run() -> None:
        async with workers(fresh) as [first, second]:
            made = await first.create(ALICE, key(), DATA)
            assert made.item is not None
            item_id = made.item.id
            for error, write in _stored_errors(item_id):
                same = key()
                with pytest.raises(error) as at_first:
                    await write(first, item_id, same)
                await first.replace(ALICE, item_id, DATA, ANY)
                for writer in (first, second):
                    with pytest.raises(error) as again:
                        await write(writer, item_id, same)
                    told = again.value
                    assert (told.detail, told.locations, told.extra) == (
                        at_first.value.detail,
                        at_first.value.locations,
                        at_first.value.extra,
                    )
                    assert told.replayed
                assert not at_first.value.replayed

    asyncio.run(run())


def test_errors_of_the_request_alone_leave_the_key_free(fresh: Database) -> None:
    """A batch that the database refuses is repeated row by row, and the odd row fails alone."""

    async def run() -> list[Any]:
        async with workers(fresh, 1) as [writer]:
            odd = key()
            answers = await settled(
                writer.create(ALICE, odd, b'{"k": "\\u0000"}'),
                *(writer.create(ALICE, key(), DATA) for _ in range(9)),
            )
            return [*answers, await writer.create(ALICE, odd, DATA)]

    refused, *made = asyncio.run(run())
    assert isinstance(refused, InvalidContent)
    assert all(isinstance(outcome, Outcome) and not outcome.replayed for outcome in made)
    assert count(fresh) == 10
