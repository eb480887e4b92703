"""A circuit breaker: closed, open, half-open.

It uses an injected clock and does no I/O. While closed it counts; when too large a share of the
calls in a sliding window failed or was slow, it opens and refuses all calls. After a jittered pause
a few probes may pass; if one fails, the next pause is twice as long. The pause also doubles if the
breaker reopens soon after closing.
"""

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass

_SLOTS = 10
# The pause is reset after the breaker was closed for so many times the longest pause.
_CALM = 4


class State(enum.StrEnum):
    """What ``admit`` lets pass: all calls, none, or a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Policy:
    """When to open and for how long; shares are from 0 to 1.

    The window is short, because earlier successes must leave it before an outage can open the
    breaker. It opens only with at least ``calls_min`` calls in the window. A call of ``slow_s`` or
    longer is slow. Pauses start at ``pause_s``, double up to ``pause_max_s`` and are shortened
    randomly by up to half, so that workers do not all probe at once. A probe without an outcome
    after ``probe_s`` counts as failed.
    """

    window_s: float = 1.0
    calls_min: int = 5
    failure_rate: float = 0.5
    slow_s: float = 0.2
    slow_rate: float = 0.8
    probes: int = 3
    probe_s: float = 1.0
    pause_s: float = 0.5
    pause_max_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Status:
    """For /readyz and metrics: the state, the window's counts, and openings since the start.

    ``left_s`` is how long it will still refuse calls or wait for probes: 0 if it is closed, or if
    the pause is over and no call has come since.
    """

    state: State
    left_s: float
    calls: int
    failures: int
    slow: int
    openings: int


class Breaker:
    """The breaker of one dependency in one worker. ``on_change`` is called with each new state."""

    def __init__(
        self,
        clock: Callable[[], float],
        policy: Policy | None = None,
        *,
        rng: random.Random | None = None,
        on_change: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._policy = policy or Policy()
        self._rng = rng or random.SystemRandom()
        self._on_change = on_change
        self._slow_s = self._policy.slow_s
        self._slot_s = self._policy.window_s / _SLOTS
        self._pauses = self._openings = 0
        self._turn = 0
        self._probes_left = self._probes_well = 0
        self._until = 0.0
        self._state, self._since = State.CLOSED, clock()
        self._start_window(self._since)

    def _start_window(self, now: float) -> None:
        # [calls, failures, slow] of each slot, the newest last, and their sums
        self._newest: int = int(now / self._slot_s)
        self._window: list[list[int]] = [[0, 0, 0] for _ in range(_SLOTS)]
        self._calls: int = 0
        self._failures: int = 0
        self._slow: int = 0

    def admit(self) -> int | None:
        """A ticket for one call, to be passed to ``report`` with its outcome; None: refused."""
        if self._state is not State.CLOSED:
            now = self._clock()
            if now >= self._until:
                self._time_is_up(now)
            if self._probes_left == 0:
                return None
            self._probes_left -= 1
        return self._turn

    def report(self, ticket: int, *, ok: bool, took_s: float) -> None:
        """Record the outcome of a call; ignored if the call began in an earlier state."""
        if ticket != self._turn:
            return
        slow = took_s >= self._slow_s
        now = self._clock()
        if self._state is State.CLOSED:
            newest = int(now / self._slot_s)
            if newest > self._newest:
                self._slide(newest)
            self._window[-1][0] += 1
            self._calls += 1
            if slow or not ok:
                self._count_against(ok, slow, now)
        elif not ok or slow:
            self._open(now)
        else:
            self._probes_well += 1
            if self._probes_well == self._policy.probes:
                self._enter(State.CLOSED, now)

    def trip(self, ticket: int) -> None:
        """As ``report``, for a failure that means every other call must fail too: open at once."""
        if ticket == self._turn and self._state is not State.OPEN:
            self._open(self._clock())

    @property
    def state(self) -> State:
        """The state; it stays open after the pause until the next call of ``admit``."""
        return self._state

    @property
    def closed(self) -> bool:
        return self._state is State.CLOSED

    def status(self) -> Status:
        now = self._clock()
        self._slide(int(now / self._slot_s))
        left_s = 0.0 if self.closed else max(0.0, self._until - now)
        return Status(
            self._state,
            left_s,
            self._calls,
            self._failures,
            self._slow,
            self._openings,
        )

    def _count_against(self, ok: bool, slow: bool, now: float) -> None:
        slot = self._window[-1]
        slot[1] += not ok
        slot[2] += slow
        self._failures += not ok
        self._slow += slow
        policy = self._policy
        if self._calls >= policy.calls_min and (
            self._failures >= policy.failure_rate * self._calls
            or self._slow >= policy.slow_rate * self._calls
        ):
            self._open(now)

    def _slide(self, slot: int) -> None:
        # A call that is counted late goes into the newest slot, because old slots are summed
        # already.
        if slot <= self._newest:
            return
        fresh = min(slot - self._newest, _SLOTS)
        self._newest = slot
        for calls, failures, slow in self._window[:fresh]:
            self._calls -= calls
            self._failures -= failures
            self._slow -= slow
        self._window = self._window[fresh:] + [[0, 0, 0] for _ in range(fresh)]

    def _time_is_up(self, now: float) -> None:
        if self._state is State.OPEN:
            self._enter(State.HALF_OPEN, now)
            self._probes_left, self._probes_well = self._policy.probes, 0
            self._until = now + self._policy.probe_s
        else:
            self._open(now)

    def _open(self, now: float) -> None:
        policy = self._policy
        if self.closed and now - self._since >= _CALM * policy.pause_max_s:
            self._pauses = 0
        pause_s = min(policy.pause_max_s, policy.pause_s * 2 ** min(self._pauses, 30))
        self._pauses += 1
        self._openings += 1
        self._probes_left = 0
        self._until = now + pause_s * self._rng.uniform(0.5, 1.0)
        self._enter(State.OPEN, now)

    def _enter(self, state: State, now: float) -> None:
        self._state = state
        self._since = now
        self._turn += 1
        self._start_window(now)
        self._on_change(state)
