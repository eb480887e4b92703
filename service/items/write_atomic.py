"""Writes several items of one shard in one transaction: all are changed, or none."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial

from service.flow.deadline import within
from service.items.outbox import Outbox
from service.items.planned import Planned, shown, write_of
from service.items.write_policy import WritePolicy
from service.model.caller import Caller
from service.model.change import Outcome
from service.model.errors import Location, SeveralShards
from service.store.shards import Shard, Shards
from service.store.write.change import change_atomic
from service.store.write.request import LargePatch, Write


class AtomicWriter:
    """One worker's atomic batches. ``policy`` is shared with its single writes."""

    def __init__(
        self, shards: Shards, outbox: Outbox, policy: WritePolicy, idempotency_ttl_s: float
    ) -> None:
        self._shards = shards
        self._outbox = outbox
        self._policy = policy
        self._ttl_s = idempotency_ttl_s

    async def write(self, caller: Caller, planned: Sequence[Planned]) -> list[Outcome]:
        """The outcomes in order. Raises SeveralShards, BatchFailed, and as ItemWriter does."""
        writes = [write_of(caller, one, self._shards.buckets) for one in planned]
        requests = [write.request for write in writes]
        outcomes = await self._policy.together(requests, partial(self._attempt, writes))
        pairs = zip(planned, outcomes, strict=True)
        return [shown(caller, one, outcome) for one, outcome in pairs]

    async def _attempt(self, writes: Sequence[Write]) -> list[Outcome]:
        shard = await self._shard(writes)
        timeout_s = self._policy.timeout_s
        try:
            outcomes = await within(timeout_s, change_atomic(shard, writes, self._ttl_s))
        except LargePatch:
            async with self._policy.aside():
                aside = change_atomic(shard, writes, self._ttl_s, aside=True)
                outcomes = await within(timeout_s, aside)
        changes = [o.invalidation for o in outcomes if o.invalidation is not None]
        await asyncio.gather(*(self._outbox.announce(shard, change) for change in changes))
        return outcomes

    async def _shard(self, writes: Sequence[Write]) -> Shard:
        shards = [await self._shards.of(write.request.item_id) for write in writes]
        [(most, _)] = Counter(shard.number for shard in shards).most_common(1)
        elsewhere = [
            Location("is on another shard than most of the batch", pointer=f"/operations/{index}")
            for index, shard in enumerate(shards)
            if shard.number != most
        ]
        if elsewhere:
            raise SeveralShards("All items of an atomic batch must be on one shard.", *elsewhere)
        return next(shard for shard in shards if shard.number == most)
