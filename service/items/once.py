"""Twins: requests of one caller under one idempotency key, one at a time in this worker."""

import asyncio
from collections.abc import Awaitable, Callable

from service.store.idempotency import Claim, Outcome, in_progress


class Once:
    """Lets the first of several twins work, and gives the others what came of it.

    Twins in other workers meet in the database; those here need no connection to wait.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, bytes, str], asyncio.Future[Outcome | None]] = {}

    async def run(
        self, claim: Claim, work: Callable[[], Awaitable[Outcome]], until_s: float
    ) -> Outcome:
        """The outcome of ``work``, or of a twin's. Where the twin came to nothing, the next works.

        Raises RequestInProgress at ``until_s`` (the event loop's clock), IdempotencyKeyReused,
        and what ``work`` raises.
        """
        while (first := self._running.get(claim.place)) is not None:
            try:
                async with asyncio.timeout_at(until_s):
                    outcome = await asyncio.shield(first)
            except TimeoutError:
                raise in_progress() from None
            if outcome is not None:
                return outcome.again(claim)
        future = asyncio.get_running_loop().create_future()
        self._running[claim.place] = future
        outcome = None
        try:
            outcome = await work()
        finally:
            del self._running[claim.place]
            future.set_result(outcome)
        return outcome
