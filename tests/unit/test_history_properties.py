"""Simulated histories that keep every promise pass, and one read made too old is found in them."""

import random
import time
from bisect import bisect_right
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.fixtures.history import Kept, Operation, Span, Surroundings
from tests.fixtures.history_checks import check

MS = 1_000_000
S = 1000 * MS
OUTAGE = Span(20 * S, 40 * S)
NEAR_NS = 100 * MS


@dataclass
class Register:
    """One item as the database has it over time, and what its clients record."""

    key: str
    dice: random.Random
    commits: list[tuple[int, str]] = field(default_factory=lambda: [(-1, "")])
    seen: dict[tuple[str, bool], int] = field(default_factory=dict)
    history: list[Operation] = field(default_factory=list)

    def change(self, now: int) -> int:
        """A write or delete that may fail, vanish, or be done with nobody told; when it ended."""
        dice, key = self.dice, self.key
        kind = "delete" if dice.random() < 0.1 and self.commits[-1][1] else "write"
        content = f"{key} {len(self.history)}" if kind == "write" else ""
        fate = dice.choices(["ok", "failed", "done untold", "vanished"], [80, 5, 10, 5])[0]
        committed = now + dice.randrange(1, 30 * MS)
        end = committed + dice.randrange(0, 30 * MS)
        change = Operation(key, "write", now, end, content=content, owner=True)
        change = change._replace(kind=kind)  # type: ignore[arg-type]
        if fate in ("ok", "done untold"):
            self.commits.append((committed, content))
        if fate == "ok":
            told = len(self.commits) - 1 if dice.random() < 0.9 else None
            change = change._replace(version=told)
        elif fate == "failed":
            change = change._replace(outcome="failed")
        else:
            gave_up = dice.randrange(now + 1, end + 1)
            change = change._replace(outcome="unknown", completed_at=gave_up)
        self.history.append(change)
        return end

    def read(self, now: int) -> None:
        """Looks somewhere between its beginning and end; others may look into the near past."""
        dice = self.dice
        end = now + dice.randrange(1, 40 * MS)
        owner, worker = dice.random() < 0.4, dice.choice("vw")
        trouble = now <= OUTAGE.end and end >= OUTAGE.start
        behind = 0 if owner else 14 * S if trouble else NEAR_NS
        looked = dice.randrange(now - behind, end)
        version = max(bisect_right(self.commits, looked, key=lambda commit: commit[0]) - 1, 0)
        if not trouble:
            version = max(version, self.seen.get((self.key, worker == "v"), 0))
            self.seen[(self.key, worker == "v")] = version
        if self.commits[version][0] > end:
            return
        content = self.commits[version][1]
        read = Operation(self.key, "read", now, end, content=content, told_key=self.key)
        read = read._replace(owner=owner, worker=worker, version=version if content else 0)
        self.history.append(read)


def simulated(seed: int, items: int, steps: int) -> tuple[list[Operation], Surroundings]:
    dice = random.Random(seed)
    history: list[Operation] = []
    final: dict[str, Kept] = {}
    for n in range(items):
        register = Register(f"k{n}", dice)
        now, free = 0, 0
        for _ in range(steps):
            now += dice.randrange(1, 120 * S // steps)
            if now > free and dice.random() < 0.3:
                free = register.change(now)
            else:
                register.read(now)
        history += register.history
        final[register.key] = Kept(len(register.commits) - 1, register.commits[-1][1])
    dice.shuffle(history)
    around = Surroundings({}, final, redis_down=(OUTAGE,), near_ns=NEAR_NS)
    return history, around


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 200))
def test_a_sound_history_passes(seed: int, items: int, steps: int) -> None:
    history, around = simulated(seed, items, steps)
    assert [str(violation) for violation in check(history, around)] == []


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_one_old_answer_is_found(seed: int) -> None:
    """The owner, long after the last acknowledged write, is given version 1 of many."""
    history, around = simulated(seed, 1, 200)
    first = next((o for o in history if o.kind == "read" and o.version == 1), None)
    told = [o for o in history if o.outcome == "ok" and o.kind == "write" and o.version]
    assume(first is not None and max(o.version or 0 for o in told) > 1)
    assert first is not None
    late = 1000 * S
    old = first._replace(invoked_at=late, completed_at=late + MS, owner=True, worker="alone")
    assert [v.promise for v in check([*history, old], around)] == ["P3"]


@pytest.mark.parametrize("items", [1, 1000])
def test_a_hundred_thousand_operations_are_judged_at_once(items: int) -> None:
    """By CPU time, with ten times what it took when this was written; never by the clock."""
    history, around = simulated(7, items, 100_000 // items)
    began = time.process_time()
    assert check(history, around) == []
    assert time.process_time() - began < 10
