"""Retries work whose error says that a repetition is safe, within the deadline."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.model.errors import HotshelfError

T = TypeVar("T")

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


async def retried(attempt: Callable[[], Awaitable[T]], until_s: float) -> T:
    """The result of the first attempt that succeeds or must not be repeated.

    An attempt is repeated when it raises a HotshelfError with ``run_again`` and there is time left
    before ``until_s`` (the event loop's clock). Pauses double and have full jitter, so that the
    callers of one failure do not all retry at the same time.
    """
    loop = asyncio.get_running_loop()
    for failures in itertools.count():
        try:
            return await attempt()
        except HotshelfError as error:
            pause_s = random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**failures))  # noqa: S311
            if not error.run_again or loop.time() + pause_s >= until_s:
                raise
        await asyncio.sleep(pause_s)
    raise AssertionError("unreachable")
