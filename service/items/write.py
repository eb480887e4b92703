"""Writing one item: created, replaced, patched or deleted, once for each idempotency key.

A change is decided inside the transaction that makes it, on the locked row (``decision``), so
that no other writer can come between. Writes of one event-loop tick share a transaction.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from service.flow.deadline import within
from service.flow.tick_batch import TickBatch
from service.items.outbox import Outbox
from service.items.planned import Planned, write_of
from service.items.write_policy import WritePolicy
from service.model.caller import Caller
from service.model.change import Outcome
from service.observe.metrics import BATCH_SIZE
from service.store.shards import Shard, Shards
from service.store.write.change import change_alone, change_group
from service.store.write.create import create_items
from service.store.write.request import LeftOut, Result, Write

# Bounds of one transaction, and how many of a shard may be under way before the next one gathers.
_BATCH_ITEMS = 64
_BATCH_BYTES = 4 << 20
_BATCHES = 4

_Work: TypeAlias = Callable[[Shard, Sequence[Write]], Awaitable[Sequence[Result]]]


class ItemWriter:
    """One worker's writes of items. ``policy`` is shared with its atomic batches."""

    def __init__(
        self, shards: Shards, outbox: Outbox, policy: WritePolicy, idempotency_ttl_s: float
    ) -> None:
        self._shards = shards
        self._outbox = outbox
        self._policy = policy
        self._ttl_s = idempotency_ttl_s
        self._creations = self._grouped(self._create_group)
        self._changes = self._grouped(self._change_group)

    async def write(self, caller: Caller, planned: Planned) -> Outcome:
        """The outcome, once it is committed and may be acknowledged.

        Raises what the decision raises, InvalidContent, ShardUnavailable, Overloaded and
        DatabaseTimeout; with a key also RequestInProgress and IdempotencyKeyReused, without one
        OutcomeUnknown.
        """
        write = write_of(caller, planned, self._shards.buckets)
        attempt = self._create if planned.item_id is None else self._change
        outcome = await self._policy.once(write.request, partial(attempt, write))
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def _create(self, write: Write) -> Outcome:
        shard = await self._shards.of(write.request.item_id)
        return await self._creations.add(shard, write)

    async def _change(self, write: Write) -> Outcome:
        shard = await self._shards.of(write.request.item_id)
        try:
            outcome = await self._changes.add(shard, write)
        except LeftOut:
            alone = change_alone(shard, write, self._ttl_s)
            outcome = await within(self._policy.timeout_s, alone)
        if outcome.invalidation is not None:
            await self._outbox.announce(shard, outcome.invalidation)
        return outcome

    async def _create_group(self, shard: Shard, writes: Sequence[Write]) -> Sequence[Result]:
        requests = [write.request for write in writes]
        return await within(self._policy.timeout_s, create_items(shard, requests, self._ttl_s))

    async def _change_group(self, shard: Shard, writes: Sequence[Write]) -> Sequence[Result]:
        return await within(self._policy.timeout_s, change_group(shard, writes, self._ttl_s))

    def _grouped(self, work: _Work) -> TickBatch[Shard, Write, Outcome]:
        return TickBatch(
            work,
            lambda write: len(write.request.data),
            max_items=_BATCH_ITEMS,
            max_bytes=_BATCH_BYTES,
            max_running=_BATCHES,
            max_waiting=self._shards.max_waiting,
            sizes=BATCH_SIZE.of("write"),
        )
