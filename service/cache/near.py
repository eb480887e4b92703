"""The cache in a worker's own memory, bounded in bytes and time.

Invalidations, the messages of ``entries.CHANNEL``, empty it entry by entry; without a living
subscription it holds nothing and takes nothing. The owner of an item must not be answered from
it, because it may be milliseconds behind what a write has acknowledged.
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
# About what Python adds to the bytes of an entry: objects, tuple, dict slot.
OVERHEAD_BYTES = 600
_REMEMBERED = 10_000
_SWEEP_EVERY_S = 0.5


class NearCache(Generic[V]):
    """Values by item id. The first stored is dropped first, at the latest when its TTL ends.

    ``max_bytes`` 0 turns it off. A ticket is taken before a GET is sent and given to ``store``
    with what it returned: after an invalidation of that id in between, or any change of the
    subscription, the value may be old, and it is not stored.
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
        # id: (expiry, value, bytes), the first stored first. Not a plain dict, because that looks
        # for its first key behind all that were removed before it.
        self._held: OrderedDict[bytes, tuple[float, V, int]] = OrderedDict()
        self._bytes = 0
        self._sweep_at = 0.0
        # Number of the last invalidation, and of the last one of each id among the latest.
        self._invalidations = 0
        self._named: OrderedDict[bytes, int] = OrderedDict()
        # A ticket below it was taken before what is still remembered.
        self._oldest_ticket = 0

    def get(self, item_id: bytes) -> V | None:
        """The value, at most ``TTL_S`` after it was stored."""
        held = self._held.get(item_id)
        if held is None or held[0] <= self._clock():
            return None
        return held[1]

    def ticket(self) -> int:
        """Take it before the GET leaves."""
        return self._invalidations

    def store(self, item_id: bytes, ticket: int, value: V, size_bytes: int) -> bool:
        """Keep what a GET returned: only a living entry, never what a database said."""
        size = size_bytes + OVERHEAD_BYTES
        if size > self._max_bytes:
            self._drop(item_id)  # what it held is older
            return False
        if not self._on or ticket < self._oldest_ticket or ticket < self._named.get(item_id, 0):
            return False
        now = self._clock()
        older = self._held.pop(item_id, None)
        ttl_s = TTL_S * (1 - _SPREAD * self._rng())
        self._held[item_id] = (now + ttl_s, value, size)
        self._bytes += size if older is None else size - older[2]
        if self._bytes > self._max_bytes or now >= self._sweep_at:
            self._make_room(now)
        return True

    def invalidate(self, item_id: bytes) -> None:
        """This item has changed, or will have by the time of the next read."""
        self._invalidations += 1
        self._drop(item_id)
        self._named.pop(item_id, None)
        self._named[item_id] = self._invalidations
        if len(self._named) > _REMEMBERED:
            _, self._oldest_ticket = self._named.popitem(last=False)

    def subscribed(self, on: bool) -> None:
        """The subscription was made, made anew or lost, so that invalidations may be missing."""
        self._on = on
        self._invalidations += 1
        self._oldest_ticket = self._invalidations
        self._named.clear()
        self._held.clear()
        self._bytes = 0

    @property
    def on(self) -> bool:
        return self._on and self.wanted

    @property
    def wanted(self) -> bool:
        """Whether the settings give it room at all."""
        return self._max_bytes > 0

    @property
    def held_bytes(self) -> int:
        """What it holds, as ``store`` counts it."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._held)

    def _drop(self, item_id: bytes) -> None:
        held = self._held.pop(item_id, None)
        if held is not None:
            self._bytes -= held[2]

    def _make_room(self, now: float) -> None:
        self._sweep_at = now + _SWEEP_EVERY_S
        while self._held:
            first = next(iter(self._held))
            if self._bytes <= self._max_bytes and self._held[first][0] > now:
                return
            self._drop(first)
