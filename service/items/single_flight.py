"""Single flight: concurrent requests with the same idempotency key run one at a time."""

import asyncio
from collections.abc import Awaitable, Callable

from service.model.change import Claim, Outcome
from service.model.errors import RequestInProgress


class SingleFlight:
    """Runs the first of several concurrent requests and gives the others its outcome.

    Only within one worker, so that waiting requests need no database connection each; the database
    separates requests of different workers.
    """

    def __init__(self) -> None:
        # Keyed by the claim's identity; None while no other request waits for the outcome.
        self._running: dict[tuple[str, bytes, str], asyncio.Future[Outcome | None] | None] = {}

    async def run(
        self, claim: Claim, work: Callable[[], Awaitable[Outcome]], until_s: float
    ) -> Outcome:
        """The outcome of ``work``, or a replay of a concurrent request's.

        If the first request fails, the next waiter runs its own ``work``. Raises
        RequestInProgress at ``until_s`` (the event loop's clock), IdempotencyKeyReused, and what
        ``work`` raises.
        """
        identity = claim.identity
        while identity in self._running:
            outcome = await self._of_first(identity, until_s)
            if outcome is not None:
                return outcome.again(claim)
        self._running[identity] = None
        outcome = None
        try:
            outcome = await work()
        finally:
            waited_for = self._running.pop(identity)
            if waited_for is not None:
                waited_for.set_result(outcome)
        return outcome

    async def _of_first(self, identity: tuple[str, bytes, str], until_s: float) -> Outcome | None:
        first = self._running[identity]
        if first is None:
            first = self._running[identity] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(until_s):
                return await asyncio.shield(first)
        except TimeoutError:
            raise RequestInProgress from None
