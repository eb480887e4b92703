"""Twins: requests of one caller under one idempotency key, one at a time in this worker."""

import asyncio
from collections.abc import Awaitable, Callable

from service.model.change import Claim, Outcome, in_progress


class Once:
    """Lets the first of several twins work, and gives the others what came of it.

    Twins in other workers meet in the database; those here need no connection to wait.
    """

    def __init__(self) -> None:
        # None: nobody waits for it yet.
        self._running: dict[tuple[str, bytes, str], asyncio.Future[Outcome | None] | None] = {}

    async def run(
        self, claim: Claim, work: Callable[[], Awaitable[Outcome]], until_s: float
    ) -> Outcome:
        """The outcome of ``work``, or of a twin's. Where the twin came to nothing, the next works.

        Raises RequestInProgress at ``until_s`` (the event loop's clock), IdempotencyKeyReused,
        and what ``work`` raises.
        """
        place = claim.place
        while place in self._running:
            outcome = await self._of_first(place, until_s)
            if outcome is not None:
                return outcome.again(claim)
        self._running[place] = None
        outcome = None
        try:
            outcome = await work()
        finally:
            waited_for = self._running.pop(place)
            if waited_for is not None:
                waited_for.set_result(outcome)
        return outcome

    async def _of_first(self, place: tuple[str, bytes, str], until_s: float) -> Outcome | None:
        first = self._running[place]
        if first is None:
            first = self._running[place] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(until_s):
                return await asyncio.shield(first)
        except TimeoutError:
            raise in_progress() from None
