"""Large patches are decided in threads, two at a time, and hold up neither loop nor neighbours."""

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from service.items import decision
from service.items.planned import Planned
from service.model.change import Outcome
from service.model.errors import BatchFailed, DatabaseTimeout, PatchTestFailed, PreconditionFailed
from service.model.item import Item
from service.settings import Database
from tests.fixtures.mixed_writes import ANY, made, mixed, stored
from tests.fixtures.stack import execute
from tests.fixtures.writers import (
    ALICE,
    Writes,
    atomic_writer,
    key,
    opened,
    workers,
    writer,
)

LARGE = b'{"text": "%b"}' % (b"x" * 100_000)
NEW = b'{"n": 2}'
NONE = decision.Conditions(if_none_match=ANY.if_match)


class _Patch:
    """Notes in which threads it ran, and how many of it at once."""

    def __init__(self, result: bytes | Exception = NEW) -> None:
        self.threads: list[threading.Thread] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self._result = result

    def __call__(self, _: Item) -> bytes:
        self.threads.append(threading.current_thread())
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(0.05)
        with self._lock:
            self._running -= 1
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    @property
    def in_threads(self) -> set[bool]:
        return {thread is not threading.main_thread() for thread in self.threads}


async def _large(writes: Writes, number: int) -> list[bytes]:
    outcomes = await asyncio.gather(*(writes.create(ALICE, key(), LARGE) for _ in range(number)))
    return [outcome.item.id for outcome in outcomes if outcome.item is not None]


@pytest.mark.parametrize("keyed", [True, False])
def test_a_large_item_is_patched_in_a_thread_and_a_small_one_is_not(
    fresh: Database, keyed: bool
) -> None:
    large, small, by_size = _Patch(), _Patch(), _Patch()

    async def run() -> list[Any]:
        async with workers(fresh, 1) as [writes]:
            [item_id] = await _large(writes, 1)
            others = await made(writes, 8)
            keys = [key() if keyed else None for _ in range(3)]
            return await asyncio.gather(
                writes.patch(ALICE, item_id, large, ANY, keys[0]),
                writes.patch(ALICE, others[0], small, ANY, keys[1]),
                writes.patch(ALICE, others[1], by_size, ANY, keys[2], patch_bytes=1 << 20),
                *mixed(writes, others[2:]),
            )

    outcomes = asyncio.run(run())
    assert [outcome.item and outcome.item.data for outcome in outcomes[:3]] == [NEW] * 3
    assert (large.in_threads, small.in_threads, by_size.in_threads) == ({True}, {False}, {True})
    assert [len(patch.threads) for patch in (large, small, by_size)] == [1, 1, 1]
    assert {version for version, _ in stored(fresh)} == {2}


def test_no_more_than_two_are_worked_on(fresh: Database) -> None:
    patch = _Patch()

    async def run() -> list[Any]:
        async with workers(fresh, 1) as [writes]:
            ids = await _large(writes, 6)
            return await asyncio.gather(*(writes.patch(ALICE, i, patch, ANY) for i in ids))

    assert len(asyncio.run(run())) == 6
    assert patch.most == 2


def test_errors_decided_in_a_thread_are_recorded_and_raised(fresh: Database) -> None:
    failing = _Patch(PatchTestFailed("A test of the patch failed."))

    async def run() -> None:
        async with workers(fresh) as [first, second]:
            [item_id] = await _large(first, 1)
            same = key()
            for writes, replayed in ((first, False), (second, True)):
                with pytest.raises(PatchTestFailed) as refused:
                    await writes.patch(ALICE, item_id, failing, ANY, same)
                assert refused.value.replayed is replayed
            with pytest.raises(PreconditionFailed):
                await first.patch(ALICE, item_id, failing, NONE)

    asyncio.run(run())
    assert len(failing.threads) == 1


def test_a_request_that_was_given_up_meanwhile_changes_nothing(fresh: Database) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(_: Item) -> bytes:
        entered.set()
        leave.wait(20)
        return NEW

    async def run() -> None:
        async with workers(replace(fresh, timeout_s=1.0), 1) as [writes]:
            [item_id] = await _large(writes, 1)
            with pytest.raises(DatabaseTimeout):
                await writes.patch(ALICE, item_id, slow, ANY)
            assert entered.is_set()
            leave.set()
            await asyncio.sleep(0.2)

    asyncio.run(run())
    assert execute(fresh.shards[0][0], "SELECT version FROM items") == [(1,)]


@pytest.mark.parametrize("fails", [False, True])
def test_an_atomic_batch_with_large_patches(fresh: Database, fails: bool) -> None:
    error = PatchTestFailed("A test of the patch failed.")
    patches = [_Patch(), _Patch(error if fails else NEW)]

    async def run() -> list[Outcome]:
        async with opened(fresh) as shards:
            ids = await made(writer(shards, fresh), 3)
            planned = [
                Planned(i, decision.patching(ALICE, patch, ANY), None, patch_bytes=100_000)
                for i, patch in zip(ids, [*patches, _Patch()], strict=True)
            ]
            return await atomic_writer(shards, fresh).write(ALICE, planned)

    if fails:
        with pytest.raises(BatchFailed) as refused:
            asyncio.run(run())
        assert [location.pointer for location in refused.value.locations] == ["/operations/1"]
        assert [data for _, data in stored(fresh)] == [{"n": 1}] * 3
    else:
        assert [o.item and o.item.data for o in asyncio.run(run())] == [NEW] * 3
    assert patches[0].in_threads == {True}
