"""Progress of a long command: a bar on a terminal, otherwise a line every ten seconds."""

import sys
import time

_BAR_CELLS = 24
_TERMINAL_INTERVAL_S = 0.1
_PLAIN_INTERVAL_S = 10.0


def say(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Counts items on standard error, because standard output is for results."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._terminal = sys.stderr.isatty()
        self.begin()

    def begin(self) -> None:
        """Restart the count at 0, and the clock."""
        self._count = 0
        self._started = self._shown = time.monotonic()

    def show(self, count: int, share: float | None) -> None:
        """``share`` is the part that is done, from 0 to 1, or None if the total is unknown."""
        self._count = count
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_INTERVAL_S if self._terminal else _PLAIN_INTERVAL_S):
            return
        self._shown = now
        text = f"{count:,} {self._what}, {self._rate(count):,.0f}/s"
        if share is not None:
            full = round(min(share, 1.0) * _BAR_CELLS)
            bar = f"[{'#' * full}{'-' * (_BAR_CELLS - full)}] " if self._terminal else ""
            text = f"{bar}{min(share, 1.0):4.0%} {text}"
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self, count: int | None = None) -> str:
        """Remove the bar; returns the summary, with the last count unless ``count`` is given."""
        count = self._count if count is None else count
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        took_s = time.monotonic() - self._started
        return f"{count:,} {self._what} in {took_s:.1f} s ({self._rate(count):,.0f}/s)"

    def _rate(self, count: int) -> float:
        return count / max(time.monotonic() - self._started, 1e-9)
