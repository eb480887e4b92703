"""The only ways into the item's key: `mark`, and `swap` in its two uses."""

from typing import NamedTuple

from tests.model.scopes import Scope
from tests.model.state import (
    EMPTY,
    ENTRY,
    FRESH,
    LIVE,
    MARKER,
    Key,
    State,
    Value,
    entry,
    marker,
    permit,
)
from tests.model.switches import Rules


class Case(NamedTuple):
    """What one run of the model explores."""

    rules: Rules
    scope: Scope


def nonce(case: Case) -> int:
    """A new one, or always the same when that rule is left out."""
    return FRESH if case.rules.fresh_nonce else 1


def not_below(case: Case, head: tuple[int, Value], other: tuple[int, Value]) -> bool:
    """Whether the head (epoch, value) is the same as the other or newer, as the Lua script says."""
    if case.rules.epoch_before_version and head[0] != other[0]:
        return head[0] > other[0]
    mine, theirs = head[1] & 7, other[1] & 7
    return mine >= theirs if case.rules.compare_as_numbers else mine <= theirs


def mark(case: Case, s: State, epoch: int, value: Value) -> State:
    """The marker stands unless a newer entry does; every live subscription gets a message."""
    key, broken = s.key, s.broken
    newer = key[:1] == (ENTRY,) and not_below(case, (key[1], key[2]), (epoch, value))
    if not newer or not case.rules.mark_keeps_newer:
        if newer:
            broken = "H: a mark threw out an entry that is as new as its write"
        head = (epoch, value)
        if key[:1] == (MARKER,) and case.rules.mark_never_lowers:
            there = (key[1], key[2])
            head = there if not_below(case, there, head) else head
        key = marker(*head, nonce(case))
    if not case.rules.mark_publishes or not case.scope.near:
        return s._replace(key=key, broken=broken)
    workers = tuple(
        w._replace(queue=w.queue + 1) if w.subscription == LIVE else w for w in s.workers
    )
    return s._replace(key=key, broken=broken, workers=workers)


def place(case: Case, s: State) -> State:
    """swap(what was seen, own permit): GET and swap as one step, since a refused swap is a GET."""
    return s._replace(key=permit(nonce(case)))


def fill(case: Case, s: State, hold: Key, epoch: int, value: Value) -> State:
    """swap(what is held, the entry)."""
    key, rules = s.key, case.rules
    done = hold != EMPTY and key == hold
    if not rules.fill_over_same_bytes:
        done = True
    if not rules.never_into_empty and key == EMPTY:
        done = True
    return s._replace(key=entry(epoch, value)) if done else s
