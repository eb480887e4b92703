"""The versions that databases recently returned, so that this worker never answers older ones."""

from collections import OrderedDict
from collections.abc import Callable

_REMEMBER_S = 15.0
_MAX_IDS = 50_000


class LastSeen:
    """id to (epoch, version), for 15 s and at most the 50,000 latest ids."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.versions: OrderedDict[bytes, tuple[tuple[int, int], float]] = OrderedDict()

    def note(self, item_id: bytes, epoch: int, version: int) -> None:
        """Record that a database returned this version (0: no item)."""
        now = self._clock()
        before = self.versions.pop(item_id, None)
        newest = max((epoch, version), before[0] if before is not None else (0, 0))
        self.versions[item_id] = (newest, now + _REMEMBER_S)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop up to two expired ids per recorded one, so that they do not accumulate."""
        for _ in range(2):
            _, ends = self.versions[next(iter(self.versions))]
            if ends > now and len(self.versions) <= _MAX_IDS:
                return
            self.versions.popitem(last=False)

    def __len__(self) -> int:
        return len(self.versions)

    def is_behind(self, item_id: bytes, epoch: int, version: int) -> bool:
        """Whether a cached version is older than one that a database returned."""
        known = self.versions.get(item_id)
        return known is not None and known[1] > self._clock() and (epoch, version) < known[0]
