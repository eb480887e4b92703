"""The cache in a worker's own memory, bounded in bytes and time.

Messages of ``entries.CHANNEL`` invalidate single entries; without a living subscription it is empty
and stores nothing. Owners of items must not be answered from it, because it may be milliseconds
behind an acknowledged write.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")

TTL_S = 5.0
# Fraction by which TTLs are randomised, so that entries cached together do not expire together.
_SPREAD = 0.5
# Approximate overhead of Python per entry: objects, tuple, dict slot.
OVERHEAD_BYTES = 600
_REMEMBERED = 10_000
_SWEEP_EVERY_S = 0.5


class NearCache(Generic[V]):
    """Values by item id, evicted in order of storing, at the latest when their TTL ends.

    ``max_bytes`` 0 turns it off. A ticket is taken before a GET is sent and passed to ``store``
    with the reply: if the id was invalidated in between, or the subscription changed, the value may
    be old and is not stored.
    """

    def __init__(
        self,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._rng = rng
        self._on = False
        # id: (expiry, value, bytes), in order of storing. Not a plain dict, because finding its
        # first key takes time linear in the keys removed before it.
        self.held: OrderedDict[bytes, tuple[float, V, int]] = OrderedDict()
        self._bytes = 0
        self._sweep_at = 0.0
        # Number of the last invalidation, and that of each recently invalidated id.
        self._invalidations = 0
        self._named: OrderedDict[bytes, int] = OrderedDict()
        # A lower ticket was taken before the oldest remembered invalidation.
        self._oldest_ticket = 0

    def get(self, item_id: bytes) -> V | None:
        """The value, if it was stored at most ``TTL_S`` ago."""
        held = self.held.get(item_id)
        if held is None or held[0] <= self._clock():
            return None
        return held[1]

    def ticket(self) -> int:
        """A ticket for ``store``; take it before the GET is sent."""
        return self._invalidations

    def store(self, item_id: bytes, ticket: int, value: V, size_bytes: int) -> bool:
        """Keep the reply of a GET; only living items, never values read from a database."""
        size = size_bytes + OVERHEAD_BYTES
        if size > self._max_bytes:
            self._drop(item_id)  # the present value is older
            return False
        if not self._on or ticket < self._oldest_ticket or ticket < self._named.get(item_id, 0):
            return False
        now = self._clock()
        older = self.held.pop(item_id, None)
        ttl_s = TTL_S * (1 - _SPREAD * self._rng())
        self.held[item_id] = (now + ttl_s, value, size)
        self._bytes += size if older is None else size - older[2]
        if self._bytes > self._max_bytes or now >= self._sweep_at:
            self._make_room(now)
        return True

    def invalidate(self, item_id: bytes) -> None:
        """Drop the item, because it has changed or is about to change."""
        self._invalidations += 1
        self._drop(item_id)
        self._named.pop(item_id, None)
        self._named[item_id] = self._invalidations
        if len(self._named) > _REMEMBERED:
            _, self._oldest_ticket = self._named.popitem(last=False)

    def subscribed(self, on: bool) -> None:
        """The subscription was made, renewed or lost, so invalidations may have been missed."""
        self._on = on
        self._invalidations += 1
        self._oldest_ticket = self._invalidations
        self._named.clear()
        self.held.clear()
        self._bytes = 0

    @property
    def on(self) -> bool:
        return self._on and self.wanted

    @property
    def wanted(self) -> bool:
        """Whether the settings enable it."""
        return self._max_bytes > 0

    @property
    def held_bytes(self) -> int:
        """The bytes it holds, as counted by ``store``."""
        return self._bytes

    def __len__(self) -> int:
        return len(self.held)

    def _drop(self, item_id: bytes) -> None:
        held = self.held.pop(item_id, None)
        if held is not None:
            self._bytes -= held[2]

    def _make_room(self, now: float) -> None:
        self._sweep_at = now + _SWEEP_EVERY_S
        while self.held:
            first = next(iter(self.held))
            if self._bytes <= self._max_bytes and self.held[first][0] > now:
                return
            self._drop(first)
