"""The breaker against a second, slower reading of its rules, and its promises in any history."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from service.flow.breaker import Breaker, Policy, State

POLICY = Policy()
SLOT_S = POLICY.window_s / 10


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def new(clock: Clock, seed: int = 1) -> Breaker:
    return Breaker(clock, POLICY, rng=random.Random(seed))


def call(breaker: Breaker, *, ok: bool = True, took_s: float = 0.001) -> bool:
    """Whether the call was let through."""
    ticket = breaker.admit()
    if ticket is not None:
        breaker.report(ticket, ok=ok, took_s=took_s)
    return ticket is not None


def opened(clock: Clock) -> Breaker:
    breaker = new(clock)
    for _ in range(POLICY.calls_min):
        call(breaker, ok=False)
    assert breaker.state is State.OPEN
    return breaker


outcomes = st.tuples(st.floats(0, 0.4), st.booleans(), st.sampled_from([0.001, POLICY.slow_s, 3.0]))


@given(st.lists(outcomes, max_size=80))
@settings(max_examples=300)
def test_it_opens_exactly_when_the_window_says_so(history: list[tuple[float, bool, float]]) -> None:
    clock = Clock()
    breaker = new(clock)
    seen: list[tuple[int, bool, bool]] = []
    for pause_s, ok, took_s in history:
        clock.now += pause_s
        slot = int(clock.now / SLOT_S)
        assert call(breaker, ok=ok, took_s=took_s)
        seen.append((slot, ok, took_s >= POLICY.slow_s))
        window = [(ok_, slow) for at, ok_, slow in seen if at > slot - 10]
        failures = sum(not ok_ for ok_, _ in window)
        slow = sum(slow_ for _, slow_ in window)
        assert breaker.status().calls in (len(window), 0)
        bad = not ok or took_s >= POLICY.slow_s
        opens = (
            bad
            and len(window) >= POLICY.calls_min
            and (
                failures >= POLICY.failure_rate * len(window)
                or slow >= POLICY.slow_rate * len(window)
            )
        )
        assert (breaker.state is State.OPEN) is opens
        if opens:
            break


steps = st.tuples(st.floats(0, 3), st.sampled_from(["admit", "well", "badly", "slowly", "lost"]))


@given(st.lists(steps, max_size=120), st.integers(0, 1000))
@settings(max_examples=300)
def test_open_admits_none_half_open_a_few_and_success_closes_it(
    history: list[tuple[float, str]], seed: int
) -> None:
    clock = Clock()
    breaker = new(clock, seed)
    under_way: list[int] = []
    probes = 0
    for pause_s, step in history:
        clock.now += pause_s
        before, openings = breaker.state, breaker.status().openings
        if step == "admit":
            ticket = breaker.admit()
            if before is State.OPEN and breaker.state is State.HALF_OPEN:
                probes = 0
            if ticket is not None:
                under_way.append(ticket)
                probes += breaker.state is State.HALF_OPEN
            assert (ticket is None) is (breaker.state is State.OPEN) or probes >= POLICY.probes
            assert breaker.state is not State.HALF_OPEN or probes <= POLICY.probes
        elif under_way:
            ticket = under_way.pop(0)
            if step != "lost":
                took_s = POLICY.slow_s if step == "slowly" else 0.001
                breaker.report(ticket, ok=step != "badly", took_s=took_s)
        assert breaker.status().openings - openings == (
            breaker.state is State.OPEN and before is not State.OPEN
        )
    # From wherever it is, a dependency that is well again is found within two longest pauses.
    under_way.clear()
    end = clock.now + 2 * POLICY.pause_max_s + POLICY.probe_s
    while not breaker.closed:
        assert clock.now < end
        clock.now += 0.05
        call(breaker)


def test_pauses_double_with_jitter_up_to_the_longest() -> None:
    lengths: list[list[float]] = []
    for seed in range(20):
        clock = Clock()
        breaker = new(clock, seed)
        for _ in range(POLICY.calls_min):
            call(breaker, ok=False)
        lengths.append([])
        for _ in range(5):
            start = clock.now
            while not call(breaker, ok=False):
                clock.now += 0.001
            lengths[-1].append(clock.now - start)
    for number, bound in enumerate([0.5, 1.0, 2.0, 2.0, 2.0]):
        pauses = [row[number] for row in lengths]
        assert bound / 2 - 0.002 <= min(pauses) < max(pauses) <= bound + 0.002
        assert max(pauses) - min(pauses) > bound / 10


def test_a_call_that_began_before_it_opened_says_nothing_afterwards() -> None:
    clock = Clock()
    breaker = new(clock)
    late = [breaker.admit() for _ in range(10)]
    for _ in range(POLICY.calls_min):
        call(breaker, ok=False)
    clock.now += POLICY.pause_s
    probe = breaker.admit()
    assert probe is not None
    for ticket in late:
        assert ticket is not None
        breaker.report(ticket, ok=False, took_s=9.0)
    assert breaker.state is State.HALF_OPEN
    breaker.report(probe, ok=True, took_s=0.001)
    assert call(breaker)
    assert call(breaker)
    assert breaker.closed


def test_a_slow_probe_is_no_good_sign() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += POLICY.pause_s
    assert call(breaker, took_s=POLICY.slow_s)
    assert breaker.state is State.OPEN


def test_probes_that_never_end_do_not_hold_it_half_open() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += POLICY.pause_s
    assert [breaker.admit() is None for _ in range(POLICY.probes + 1)] == [False] * 3 + [True]
    clock.now += POLICY.probe_s
    assert breaker.admit() is None
    assert breaker.state is State.OPEN
    clock.now += 2 * POLICY.pause_s
    assert all(call(breaker) for _ in range(POLICY.probes))
    assert breaker.closed


def test_opening_again_soon_doubles_the_pause_and_later_does_not() -> None:
    clock = Clock()
    breaker = opened(clock)
    for calm_s, longest in [(0.0, 1.0), (7.9, 2.0), (8.1, 0.5)]:
        clock.now += POLICY.pause_max_s
        for _ in range(POLICY.probes):
            call(breaker)
        clock.now += calm_s
        for _ in range(POLICY.calls_min):
            assert call(breaker, ok=False)
        assert longest / 2 <= breaker.status().left_s <= longest


def test_a_hopeless_failure_opens_it_at_once() -> None:
    clock = Clock()
    breaker = new(clock)
    for _ in range(100):
        call(breaker)
    ticket = breaker.admit()
    assert ticket is not None
    breaker.trip(ticket)
    assert (breaker.state, breaker.status().openings) == (State.OPEN, 1)
    breaker.trip(ticket)
    assert breaker.status().openings == 1


def test_changes_are_reported_in_order() -> None:
    clock, told = Clock(), list[State]()
    breaker = Breaker(clock, POLICY, rng=random.Random(1), on_change=told.append)
    for _ in range(POLICY.calls_min):
        call(breaker, ok=False)
    clock.now += POLICY.pause_s
    for _ in range(POLICY.probes):
        call(breaker)
    assert told == [State.OPEN, State.HALF_OPEN, State.CLOSED]
    status = breaker.status()
    assert (status.state, status.openings) == (State.CLOSED, 1)


def test_time_left_ends_with_the_pause_even_without_calls() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert 0 < breaker.status().left_s <= POLICY.pause_s
    clock.now += POLICY.pause_s
    assert (breaker.state, breaker.status().left_s) == (State.OPEN, 0.0)
    assert breaker.admit() is not None
    assert breaker.status().left_s == POLICY.probe_s
    assert new(clock).status().left_s == 0.0
