"""Creating, replacing, patching and deleting items, each once however often it is sent.

The locked row is checked in the order of docs/api.md: existence, owner, If-Match,
If-None-Match. Everything is decided inside the transaction that makes the change, so no other
writer can come between.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from service import native
from service.flow.deadline import TimeLimit, within
from service.flow.retry import retried
from service.flow.tick_batch import TickBatch
from service.items import decision
from service.items.decision import Conditions
from service.items.outbox import Outbox
from service.items.single_flight import Once
from service.model.caller import Caller
from service.model.change import Change, Claim, Decide, Outcome
from service.model.errors import DatabaseTimeout, RequestInProgress
from service.model.item import Item
from service.observe.metrics import BATCH_SIZE
from service.store.shards import BucketMoved, Shard, Shards
from service.store.write.change import ItemRequest, Write
from service.store.write.change_group import change_batch
from service.store.write.change_one import change_item
from service.store.write.commit import unknown
from service.store.write.create import NewItem, create_items

# How long a request waits for a twin that runs elsewhere, and how often it looks.
_PATIENCE_S = 1.0
_LOOK_AGAIN_S = (0.02, 0.05)

# While four batches of a shard are on their way, the next gathers.
_BATCH_ITEMS = 64
_BATCH_BYTES = 4 << 20
_BATCHES = 4


class IdempotencyKey(NamedTuple):
    """A key as the client sent it, and the hash of all that makes a request the same again."""

    key: str
    fingerprint: bytes


class Planned(NamedTuple):
    """One change. ``item_id`` None is a creation, whose id is minted; it has a key then."""

    item_id: bytes | None
    decide: Decide
    key: IdempotencyKey | None
    data: bytes = b""


def minted_id(caller: Caller, key: IdempotencyKey, buckets: int) -> tuple[bytes, int]:
    """A new id, and its bucket, which the caller's key chooses."""
    bucket = native.hash_bytes([caller.subject.encode(), key.key.encode()]) % buckets
    return native.mint_in_bucket(time.time_ns() // 1_000_000, bucket, buckets), bucket


class ItemWriter:
    """All changes to items.

    Every method raises ShardUnavailable, Overloaded and DatabaseTimeout; with a key also
    RequestInProgress and IdempotencyKeyReused, without one OutcomeUnknown.
    """

    def __init__(
        self, shards: Shards, outbox: Outbox, timeout_s: float, idempotency_ttl_s: float
    ) -> None:
        self._shards = shards
        self._outbox = outbox
        self._timeout_s = timeout_s
        self._ttl_s = idempotency_ttl_s
        self._limit = TimeLimit(timeout_s)
        self._once = Once()
        self._creations: TickBatch[Shard, NewItem, Outcome] = TickBatch(
            self._create_batch,
            lambda new: len(new.data),
            max_items=_BATCH_ITEMS,
            max_bytes=_BATCH_BYTES,
            max_running=_BATCHES,
            max_waiting=shards.max_waiting,
            sizes=BATCH_SIZE.of("write"),
        )
        self._changes: TickBatch[Shard, Write, Outcome | None] = TickBatch(
            self._change_batch,
            lambda write: len(write.request.data),
            max_items=_BATCH_ITEMS,
            max_bytes=_BATCH_BYTES,
            max_running=_BATCHES,
            max_waiting=shards.max_waiting,
            sizes=BATCH_SIZE.of("write"),
        )

    async def write(self, caller: Caller, planned: Planned) -> Outcome:
        """What was planned; raises what is decided as well."""
        item_id, decide, key, data = planned
        if item_id is not None:
            return await self._change(caller, item_id, key, decide, data)
        assert key is not None
        return await self.create(caller, key, data)

    async def create(self, caller: Caller, key: IdempotencyKey, data: bytes) -> Outcome:
        """A new item under an id minted now, in the bucket that the idempotency key chooses."""
        item_id, bucket = minted_id(caller, key, self._shards.buckets)
        claim = Claim(bucket, caller.subject, b"", key.key, key.fingerprint)
        new = NewItem(claim, item_id, data)

        def attempt(shard: Shard) -> Awaitable[Outcome]:
            return self._creations.add(shard, new)

        return await self._answer(item_id, attempt, claim)

    async def replace(
        self,
        caller: Caller,
        item_id: bytes,
        data: bytes,
        conditions: Conditions,
        key: IdempotencyKey | None = None,
    ) -> Outcome:
        """The item with its new data, ``created`` or ``changed``.

        Raises NotOwner, PreconditionFailed.
        """

        decide = decision.replacing(caller, data, conditions)
        return await self._change(caller, item_id, key, decide, data)

    async def patch(
        self,
        caller: Caller,
        item_id: bytes,
        patched: Callable[[Item], bytes],
        conditions: Conditions,
        key: IdempotencyKey | None = None,
    ) -> Outcome:
        """The item with the data that ``patched`` makes of it.

        Raises ItemNotFound, NotOwner, PreconditionFailed, and what ``patched`` raises.
        """

        decide = decision.patching(caller, patched, conditions)
        return await self._change(caller, item_id, key, decide)

    async def delete(
        self,
        caller: Caller,
        item_id: bytes,
        conditions: Conditions,
        key: IdempotencyKey | None = None,
    ) -> Outcome:
        """Leave a tombstone. Raises ItemNotFound, NotOwner, PreconditionFailed."""

        return await self._change(caller, item_id, key, decision.deleting(caller, conditions))

    async def _change(
        self,
        caller: Caller,
        item_id: bytes,
        key: IdempotencyKey | None,
        decide: Decide,
        data: bytes = b"",
    ) -> Outcome:
        bucket = native.bucket_of(item_id, self._shards.buckets)
        claim = None
        if key is not None:
            claim = Claim(bucket, caller.subject, item_id, key.key, key.fingerprint)
        request = ItemRequest(item_id, bucket, claim, data)

        def in_time(item: Item | None) -> Change:
            # The batch goes on without a request that has had its answer.
            if request.given_up:
                raise _too_late()
            return decide(item)

        write = Write(request, in_time)

        async def attempt(shard: Shard) -> Outcome:
            outcome = await self._changes.add(shard, write)
            if outcome is None:
                alone = change_item(shard, write, self._ttl_s)
                outcome = await within(self._timeout_s, alone)
            if outcome.told is not None:
                await self._outbox.announce(shard, outcome.told)
            return outcome

        return await self._answer(item_id, attempt, claim, request)

    async def _create_batch(
        self, shard: Shard, new: Sequence[NewItem]
    ) -> Sequence[Outcome | Exception]:
        return await within(self._timeout_s, create_items(shard, new, self._ttl_s))

    async def _change_batch(
        self, shard: Shard, writes: Sequence[Write]
    ) -> Sequence[Outcome | Exception | None]:
        return await within(self._timeout_s, change_batch(shard, writes, self._ttl_s))

    async def _answer(
        self,
        item_id: bytes,
        attempt: Callable[[Shard], Awaitable[Outcome]],
        claim: Claim | None,
        request: ItemRequest | None = None,
    ) -> Outcome:
        """The outcome in time; an error among outcomes is raised.

        Nothing in ``attempt`` may take long to be cancelled, so that this needs no ``within``.
        """
        now_s = asyncio.get_running_loop().time()
        until_s, patience_s = now_s + self._timeout_s, now_s + _PATIENCE_S
        work = partial(self._patiently, item_id, attempt, until_s, patience_s)
        try:
            with self._limit.wait():
                if claim is None:
                    outcome = await work()
                else:
                    outcome = await self._once.run(claim, work, patience_s)
        except TimeoutError:
            if request is not None:
                request.given_up = True
                if request.commit_sent and claim is None:
                    raise unknown() from None
            raise _too_late() from None
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def _patiently(
        self,
        item_id: bytes,
        attempt: Callable[[Shard], Awaitable[Outcome]],
        until_s: float,
        patience_s: float,
    ) -> Outcome:
        """Again while the database fails in passing, or while a twin runs in another worker."""

        async def in_its_shard() -> Outcome:
            try:
                return await attempt(await self._shards.of(item_id))
            except BucketMoved:
                raise await self._shards.after_move() from None

        while True:
            try:
                return await retried(in_its_shard, until_s)
            except RequestInProgress:
                pause_s = random.uniform(*_LOOK_AGAIN_S)  # noqa: S311
                if asyncio.get_running_loop().time() + pause_s >= patience_s:
                    raise
            await asyncio.sleep(pause_s)


def _too_late() -> DatabaseTimeout:
    return DatabaseTimeout("The database took too long.", retry_after_s=1)
