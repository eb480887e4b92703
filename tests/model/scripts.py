"""The only ways into the item's key: `invalidate`, and compare-and-set in its two uses."""

from typing import NamedTuple

from tests.model.scopes import Scope
from tests.model.state import (
    EMPTY,
    ENTRY,
    FRESH,
    INVALIDATION,
    LIVE,
    Key,
    State,
    Value,
    entry,
    fill_lease,
    invalidation,
)
from tests.model.switches import Rules


class Case(NamedTuple):
    """The bounds of one run of the model."""

    rules: Rules
    scope: Scope


def nonce(case: Case) -> int:
    """A new one, or always the same when that rule is left out."""
    return FRESH if case.rules.fresh_nonce else 1


def not_below(case: Case, stamp: tuple[int, Value], other: tuple[int, Value]) -> bool:
    """Whether the stamp (epoch, value) is not below the other, as the Lua script compares."""
    if case.rules.epoch_before_version and stamp[0] != other[0]:
        return stamp[0] > other[0]
    mine, theirs = stamp[1] & 7, other[1] & 7
    return mine >= theirs if case.rules.compare_as_numbers else mine <= theirs


def invalidate(case: Case, s: State, epoch: int, value: Value) -> State:
    """The invalidation replaces all but a newer entry; every live subscription gets a message."""
    key, broken = s.key, s.broken
    newer = key[:1] == (ENTRY,) and not_below(case, (key[1], key[2]), (epoch, value))
    if not newer or not case.rules.invalidation_keeps_newer:
        if newer:
            broken = "H: an invalidation removed an entry that is as new as its write"
        stamp = (epoch, value)
        if key[:1] == (INVALIDATION,) and case.rules.invalidation_never_lowers:
            there = (key[1], key[2])
            stamp = there if not_below(case, there, stamp) else stamp
        key = invalidation(*stamp, nonce(case))
    if not case.rules.invalidation_publishes or not case.scope.near:
        return s._replace(key=key, broken=broken)
    workers = tuple(
        w._replace(queue=w.queue + 1) if w.subscription == LIVE else w for w in s.workers
    )
    return s._replace(key=key, broken=broken, workers=workers)


def acquire(case: Case, s: State) -> State:
    """compare-and-set(what was seen, own fill lease); one step with GET, as a refused one is."""
    return s._replace(key=fill_lease(nonce(case)))


def fill(case: Case, s: State, hold: Key, epoch: int, value: Value) -> State:
    """compare-and-set(what is held, the entry)."""
    key, rules = s.key, case.rules
    done = hold != EMPTY and key == hold
    if not rules.fill_over_same_bytes:
        done = True
    if not rules.never_into_empty and key == EMPTY:
        done = True
    return s._replace(key=entry(epoch, value)) if done else s
