"""A few clients whose every answer is recorded, and the check of what they were promised.

The history of a window is checked and forgotten, so that an hour needs no more memory than one.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from service import native
from tests.fixtures.history import NOT_THERE, Kept, Surroundings
from tests.fixtures.history_checks import check
from tests.fixtures.running import RunningService
from tests.fixtures.stack import execute
from tests.fixtures.traffic import Traffic

WINDOW_S = 20.0
# Fourteen clients with this pause keep within the quota of a soak.
_PAUSE_S = 0.2
# An invalidation message waits for its turn in the worker's event loop, as all else does there.
_NEAR_NS = 1_000_000_000
_REPORTED = 5


class WatchedTraffic:
    """``violations`` of promises, the first few of each window; ``operations`` were checked."""

    def __init__(self, running: RunningService, shards: list[str], window_s: float) -> None:
        self._running, self._shards, self._window_s = running, shards, window_s
        self.violations: list[str] = []
        self.operations = 0
        self._stop = threading.Event()
        self._error: Exception | None = None

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """One window after the other until the block ends. Raises what went wrong in one."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._window(self._stop.wait)
        except Exception as error:
            self._error = error

    def _window(self, wait: Callable[[float], bool]) -> None:
        traffic = Traffic(self._running, pause_s=_PAUSE_S)
        traffic.create()
        with traffic.flowing():
            wait(self._window_s)
        history = traffic.recorder.operations()
        around = Surroundings(traffic.initial, self._final(list(traffic.initial)), near_ns=_NEAR_NS)
        self.operations += len(history)
        self.violations += map(str, check(history, around)[:_REPORTED])

    def _final(self, items: list[str]) -> dict[str, Kept]:
        """As the primaries have them when the window's clients have ended."""
        uuids = ",".join(f"'{UUID(bytes=native.parse_id(item))}'" for item in items)
        found = dict.fromkeys(items, Kept(NOT_THERE))
        for url in self._shards:
            rows = execute(
                url,
                f"SELECT id, version, data->>'w' FROM items WHERE id IN ({uuids})",  # noqa: S608
            )
            for item_id, version, content in rows:
                assert isinstance(item_id, UUID)
                kept = Kept(int(str(version)), str(content or ""))
                found[native.format_id(item_id.bytes)] = kept
        return found
