"""The items that readers ask for: all there are, as far as they are known, by Zipf's law."""

import bisect
import itertools
import random

# The usual skew of web caches.
EXPONENT = 0.99
MOST = 100_000


class Catalog:
    """Ids by rank, most popular first. Bounded: beyond ``most`` a new id replaces another."""

    def __init__(self, most: int = MOST, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._ids: list[str] = []
        weights = (1 / rank**EXPONENT for rank in range(1, most + 1))
        self._weights = list(itertools.accumulate(weights))

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, item_id: str) -> None:
        """At the end, where the least popular are."""
        if len(self._ids) < len(self._weights):
            self._ids.append(item_id)
        else:
            self._ids[self._random.randrange(len(self._ids) // 2, len(self._ids))] = item_id

    def pick(self) -> str | None:
        """An id of the rank that Zipf's law gives; None while nothing is known."""
        if not self._ids:
            return None
        drawn = self._random.random() * self._weights[len(self._ids) - 1]
        return self._ids[bisect.bisect(self._weights, drawn, 0, len(self._ids) - 1)]
