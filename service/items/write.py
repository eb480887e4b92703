"""Creates, replaces, patches or deletes one item, once per idempotency key.

A change is decided inside its transaction, on the locked row (``decision``), so that no other
writer can interfere. Writes of one event-loop tick share a transaction.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from service.flow.bulkhead import Bulkhead
from service.flow.deadline import within
from service.flow.tick_batch import TickBatch
from service.items.outbox import Outbox
from service.items.planned import Planned, shown, write_of
from service.items.write_policy import WritePolicy
from service.model.caller import Caller
from service.model.change import Outcome
from service.model.errors import DatabaseTimeout
from service.observe.metrics import BATCH_SIZE
from service.store.shards import Shard, Shards
from service.store.write.change import change_alone, change_group
from service.store.write.create import create_items
from service.store.write.request import LargePatch, LeftOut, Result, Write, raised

# Bounds of one transaction, and how many of a shard may run before further writes are collected. 1
# MiB of only numbers takes PostgreSQL about two seconds (jsonb, GIN).
_BATCH_ITEMS = 64
_BATCH_BYTES = 1 << 20
_BATCHES = 4
# Larger payloads are written alone, few at a time, because they would delay their group.
_LARGE_BYTES = 128 << 10
_LARGE_AT_ONCE = 2
_LARGE_WAITING = 32
# Changes of one item that wait for each other here, where they need no connections.
_SAME_ITEM_WAITING = 256

_Work: TypeAlias = Callable[
    [Shard, Sequence[Write], float | None], Coroutine[Any, Any, Sequence[Result]]
]
_Group: TypeAlias = TickBatch[Shard, Write, Outcome]


class ItemWriter:
    """One worker's writes of items. ``policy`` is shared with its atomic batches."""

    def __init__(
        self, shards: Shards, outbox: Outbox, policy: WritePolicy, idempotency_ttl_s: float
    ) -> None:
        self._shards = shards
        self._outbox = outbox
        self._policy = policy
        self._ttl_s = idempotency_ttl_s
        self._clock = asyncio.get_running_loop().time
        self._creations = self._groups(self._create_group)
        self._changes = self._groups(self._change_group)
        self._alone = Bulkhead("changes of this item", 1, _SAME_ITEM_WAITING)

    async def write(self, caller: Caller, planned: Planned) -> Outcome:
        """The outcome, once the change is committed and may be acknowledged.

        Raises what the decision raises, InvalidContent, DefinitionChanged, ShardUnavailable,
        Overloaded and DatabaseTimeout; with a key also RequestInProgress and
        IdempotencyKeyReused, without one OutcomeUnknown.
        """
        write = write_of(caller, planned, self._shards.buckets)
        attempt = self._create if planned.item_id is None else self._change
        outcome = await self._policy.once(write.request, partial(attempt, write))
        if outcome.error is not None:
            raise outcome.error
        return shown(caller, planned, outcome)

    async def _create(self, write: Write) -> Outcome:
        shard = await self._shards.of(write.request.item_id)
        try:
            return await self._creations[_is_large(write)].add(shard, write)
        except LeftOut:
            alone = create_items(shard, [write.request], self._ttl_s)
            [result] = await within(self._policy.timeout_s, alone)
        return raised(result)

    async def _change(self, write: Write) -> Outcome:
        shard = await self._shards.of(write.request.item_id)
        try:
            outcome = await self._changes[_is_large(write)].add(shard, write)
        except LeftOut as left_out:
            outcome = await self._change_alone(shard, write, isinstance(left_out, LargePatch))
        if outcome.invalidation is not None:
            await self._outbox.announce(shard, outcome.invalidation)
        return outcome

    async def _change_alone(self, shard: Shard, write: Write, is_large: bool) -> Outcome:
        timeout_s = self._policy.timeout_s
        async with self._alone.entered(write.request.item_id, timeout_s):
            if not is_large:
                with suppress(LargePatch):
                    return await within(timeout_s, change_alone(shard, write, self._ttl_s))
            async with self._policy.aside():
                aside = change_alone(shard, write, self._ttl_s, aside=True)
                return await within(timeout_s, aside)

    async def _create_group(
        self, shard: Shard, writes: Sequence[Write], statement_s: float | None
    ) -> Sequence[Result]:
        requests = [write.request for write in writes]
        return await create_items(shard, requests, self._ttl_s, statement_s)

    async def _change_group(
        self, shard: Shard, writes: Sequence[Write], statement_s: float | None
    ) -> Sequence[Result]:
        return await change_group(shard, writes, self._ttl_s, statement_s)

    def _groups(self, work: _Work) -> tuple[_Group, _Group]:
        """Groups of small payloads, and one of large ones."""
        in_time = partial(self._in_time, work)
        small: _Group = TickBatch(
            in_time,
            _size,
            max_items=_BATCH_ITEMS,
            max_bytes=_BATCH_BYTES,
            max_running=_BATCHES,
            max_waiting=self._shards.max_waiting,
            sizes=BATCH_SIZE.of("write"),
        )
        large: _Group = TickBatch(
            in_time,
            _size,
            max_items=1,
            max_bytes=_BATCH_BYTES,
            max_running=_LARGE_AT_ONCE,
            max_waiting=_LARGE_WAITING,
            sizes=BATCH_SIZE.of("write"),
        )
        return small, large

    async def _in_time(
        self, work: _Work, shard: Shard, writes: Sequence[Write]
    ) -> Sequence[Result]:
        timeout_s = self._policy.timeout_s
        if len(writes) == 1:
            return await within(timeout_s, work(shard, writes, None))
        halves = self._in_halves(work, shard, writes, self._clock() + timeout_s)
        return await within(timeout_s, halves)

    async def _in_halves(
        self, work: _Work, shard: Shard, writes: Sequence[Write], until_s: float
    ) -> Sequence[Result]:
        """The results of a group; if its statement timed out, it is repeated as two halves.

        Each statement gets half of the remaining time, so that one slow write does not fail the
        others of its group; it ends up alone. Repeating is safe, because a cancelled statement
        rolls back its transaction.
        """
        try:
            return await work(shard, writes, (until_s - self._clock()) / 2)
        except DatabaseTimeout:
            if len(writes) == 1:
                return [LeftOut()]
            middle = len(writes) // 2
            halves = (writes[:middle], writes[middle:])
        found = await asyncio.gather(
            *(self._in_halves(work, shard, half, until_s) for half in halves),
            return_exceptions=True,
        )
        results: list[Result] = []
        for half, outcome in zip(halves, found, strict=True):
            if isinstance(outcome, Exception):
                results += [outcome] * len(half)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                results += outcome
        return results


def _size(write: Write) -> int:
    return len(write.request.data)


def _is_large(write: Write) -> bool:
    return len(write.request.data) > _LARGE_BYTES
