"""Deadline, retries and deduplication of writes, shared by single writes and atomic batches."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeAlias, TypeVar

from service.flow.bulkhead import Bulkhead
from service.flow.byte_budget import ByteBudget
from service.flow.deadline import TimeLimit
from service.flow.retry import retried
from service.items.single_flight import SingleFlight
from service.model.change import Outcome
from service.model.errors import (
    DatabaseTimeout,
    IdempotencyKeyReused,
    OutcomeUnknown,
    Overloaded,
    RequestInProgress,
)
from service.observe.metrics import IDEMPOTENCY
from service.store.shards import BucketMoved, Shards
from service.store.write.request import ItemRequest

T = TypeVar("T")
Attempt: TypeAlias = Callable[[], Awaitable[T]]

# How long a request waits for one with the same key in another worker, and its polling interval.
_PATIENCE_S = 1.0
_LOOK_AGAIN_S = (0.02, 0.05)
# Their names in metrics.
_RESULTS: Mapping[type[object], str] = {
    RequestInProgress: "conflict",
    IdempotencyKeyReused: "mismatch",
}

# Memory of an item and its patch as objects, per byte of their texts.
_OBJECTS_PER_BYTE = 40
_PATCHING_WAITING = 16


def _count(outcome: Outcome) -> None:
    result = "replayed" if outcome.replayed else "first"
    IDEMPOTENCY.add(1, _RESULTS.get(type(outcome.error), result))


class WritePolicy:
    """One worker's policy.

    * One deadline, ``timeout_s`` after the call. When it passes, requests without a key whose
      COMMIT was sent get OutcomeUnknown; all others get DatabaseTimeout, and undecided changes are
      dropped.
    * An attempt that fails with ``run_again`` is repeated, with growing random pauses.
    * If a bucket has moved to another shard, the map is loaded and the attempt repeated.
    * Large patches are decided in a thread, as many at a time as ``patches`` holds, at least one.
    * Requests with the same key run one at a time. In this worker the first one's outcome
      answers the others; for one in another worker they wait ``_PATIENCE_S``, then get
      RequestInProgress.

    An attempt must end at once when cancelled, because the deadline waits for that. Belongs to the
    running event loop.
    """

    def __init__(
        self, shards: Shards, timeout_s: float, patches: ByteBudget, body_max_bytes: int
    ) -> None:
        self.timeout_s = timeout_s
        self._shards = shards
        self._clock = asyncio.get_running_loop().time
        self._limit = TimeLimit(timeout_s)
        self._flights = SingleFlight()
        self._patches = patches
        self._patch_bytes = min(2 * body_max_bytes * _OBJECTS_PER_BYTE, patches.max_bytes)
        at_once = patches.max_bytes // self._patch_bytes
        self._patching = Bulkhead("large patches", at_once, _PATCHING_WAITING)

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """A context for a change with large patches. Raises Overloaded."""
        async with AsyncExitStack() as block:
            try:
                await block.enter_async_context(self._patching.entered(None, self.timeout_s))
            except Overloaded:
                self._patches.refused += 1
                raise
            with self._patches.lease(self._patch_bytes):
                yield

    async def once(self, request: ItemRequest, attempt: Attempt[Outcome]) -> Outcome:
        """The outcome of one request, or of a concurrent one with the same key."""
        now_s = self._clock()
        if request.claim is None:
            return await self._in_time([request], self._attempts(attempt, now_s))
        work = partial(self._attempts, attempt, now_s)
        flight = self._flights.run(request.claim, work, now_s + _PATIENCE_S)
        outcome = await self._in_time([request], flight)
        _count(outcome)
        return outcome

    async def together(
        self, requests: Sequence[ItemRequest], attempt: Attempt[list[Outcome]]
    ) -> list[Outcome]:
        """The outcomes of several requests, in order, from attempts at all of them together."""
        outcomes = await self._in_time(requests, self._attempts(attempt, self._clock()))
        for request, outcome in zip(requests, outcomes, strict=True):
            if request.claim is not None:
                _count(outcome)
        return outcomes

    async def _in_time(self, requests: Sequence[ItemRequest], work: Awaitable[T]) -> T:
        try:
            with self._limit.wait():
                return await work
        except TimeoutError:
            unknown = False
            for request in requests:
                request.given_up = True
                unknown |= request.commit_sent and request.claim is None
            raise (OutcomeUnknown if unknown else DatabaseTimeout) from None
        except (RequestInProgress, IdempotencyKeyReused) as error:
            IDEMPOTENCY.add(1, _RESULTS[type(error)])
            raise

    async def _attempts(self, attempt: Attempt[T], begun_s: float) -> T:
        where_it_is = partial(self._where_it_is, attempt)
        while True:
            try:
                return await retried(where_it_is, begun_s + self.timeout_s)
            except RequestInProgress:
                pause_s = random.uniform(*_LOOK_AGAIN_S)  # noqa: S311
                if self._clock() + pause_s >= begun_s + _PATIENCE_S:
                    raise
            await asyncio.sleep(pause_s)

    async def _where_it_is(self, attempt: Attempt[T]) -> T:
        try:
            return await attempt()
        except BucketMoved:
            raise await self._shards.after_move() from None
