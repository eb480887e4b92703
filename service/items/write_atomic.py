"""Several changes as one: all of them are done, or none."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from service import native
from service.flow.deadline import within
from service.flow.retry import retried
from service.items.outbox import Outbox
from service.items.write import Planned, minted_id
from service.model.caller import Caller
from service.model.change import Claim, Outcome
from service.model.errors import DatabaseTimeout, Place, SeveralShards
from service.store.shards import BucketMoved, Shard, Shards
from service.store.write.change import ItemRequest, Write
from service.store.write.change_atomic import change_items
from service.store.write.commit import unknown


class AtomicWriter:
    """Atomic batches of one worker."""

    def __init__(
        self, shards: Shards, outbox: Outbox, timeout_s: float, idempotency_ttl_s: float
    ) -> None:
        self._shards = shards
        self._outbox = outbox
        self._timeout_s = timeout_s
        self._ttl_s = idempotency_ttl_s

    async def write(self, caller: Caller, planned: Sequence[Planned]) -> list[Outcome]:
        """What came of each, in order. Raises SeveralShards, and what ``change_items`` raises."""
        writes = [self._write(caller, one) for one in planned]
        until_s = asyncio.get_running_loop().time() + self._timeout_s

        async def attempt() -> list[Outcome]:
            shard = await self._shard(writes)
            try:
                outcomes = await change_items(shard, writes, self._ttl_s)
            except BucketMoved:
                raise await self._shards.after_move() from None
            told = [outcome.told for outcome in outcomes if outcome.told is not None]
            await asyncio.gather(*(self._outbox.announce(shard, one) for one in told))
            return outcomes

        try:
            return await within(self._timeout_s, retried(attempt, until_s))
        except TimeoutError:
            if not all(one.key for one in planned):
                raise unknown() from None
            raise DatabaseTimeout("The database took too long.", retry_after_s=1) from None

    def _write(self, caller: Caller, planned: Planned) -> Write:
        buckets = self._shards.buckets
        item_id, key, scope = planned.item_id, planned.key, planned.item_id or b""
        if item_id is None:
            assert key is not None
            item_id, _ = minted_id(caller, key, buckets)
        bucket = native.bucket_of(item_id, buckets)
        claim = None
        if key is not None:
            claim = Claim(bucket, caller.subject, scope, key.key, key.fingerprint)
        return Write(ItemRequest(item_id, bucket, claim, planned.data), planned.decide)

    async def _shard(self, writes: Sequence[Write]) -> Shard:
        shards = [await self._shards.of(write.request.item_id) for write in writes]
        [(most, _)] = Counter(shard.number for shard in shards).most_common(1)
        elsewhere = [
            Place("is not in the database that holds most others", pointer=f"/operations/{index}")
            for index, shard in enumerate(shards)
            if shard.number != most
        ]
        if elsewhere:
            raise SeveralShards("The items of an atomic batch are in one database.", *elsewhere)
        return next(shard for shard in shards if shard.number == most)
