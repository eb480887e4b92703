"""Breadth-first search through all states of a scope, and the shortest way to a broken promise."""

import gc
from collections.abc import Iterator
from typing import NamedTuple

from tests.model.answers import violation
from tests.model.moves_faults import fault_moves
from tests.model.moves_reader import describe, reader_moves, with_reader
from tests.model.moves_worker import near_moves, relay_moves, tick, with_worker
from tests.model.moves_writer import show, with_writer, writer_moves
from tests.model.scopes import Scope
from tests.model.scripts import Case
from tests.model.state import (
    ACKNOWLEDGED,
    DEAD,
    EMPTY,
    FILL,
    GOT,
    LEASE,
    OVER,
    Key,
    Move,
    Reader,
    Replica,
    State,
    Worker,
    Writer,
    entry,
)
from tests.model.switches import Rules


class Found(NamedTuple):
    """A search's result: states, whether it is complete, and the trace to the first violation."""

    states: int
    whole: bool
    promise: str
    trace: tuple[Move, ...]
    labels: frozenset[str]  # every kind of step that was taken

    @property
    def steps(self) -> int:
        """Moves from the first state to the violation."""
        return len(self.trace)

    def __str__(self) -> str:
        lines = [f"{self.states} states" + ("" if self.whole else ", not all")]
        for number, (label, s) in enumerate(self.trace, 1):
            rows = ", ".join(show(row) for row in s.outbox) or "-"
            where = f"Redis {describe(s.key)}; primary {show(s.now)}; "
            where += f"replica {show(s.replica.value)}; outbox {rows}"
            lines.append(f"{number:3}. {label:62} | {where}")
        return "\n".join([*lines, f"     {self.promise}" if self.promise else "     no violation"])


def first_state(scope: Scope) -> State:
    """An item of version 1, cached, or no item and nothing cached."""
    value = 0 if scope.starts_absent else 1
    return State(
        log=(value,),
        replica=Replica(value=value),
        key=EMPTY if scope.starts_absent else entry(0, value),
        writers=(Writer(),) * scope.writes,
        readers=tuple(Reader(worker=w, owner=o) for w, o in scope.readers),
        workers=(Worker(),) * scope.workers,
        acked=value,
        acked_any=value,
    )


def _renamed(key: Key, names: dict[int, int]) -> Key:
    return (*key[:3], names.get(key[3], DEAD)) if len(key) == 4 else key


def _settled(case: Case, s: State) -> State:
    """The same state without what can no longer matter, so that fewer are different."""
    for i, w in enumerate(s.writers):
        if (w.pc == OVER and w.value) or (w.pc == ACKNOWLEDGED and w.value not in s.outbox):
            s = s._replace(writers=with_writer(s, i, Writer(OVER)))
    for i, worker in enumerate(s.workers):
        if worker.poll is not None or worker.lease != LEASE:
            settled = _settled_worker(case, s, i, worker)
            if settled != worker:
                s = s._replace(workers=with_worker(s, i, settled))
    if s.acked_any != s.acked and not case.scope.watches_every_yes:
        s = s._replace(acked_any=s.acked)
    return _with_small_nonces(case, s) if case.rules.fresh_nonce else s


def _settled_worker(case: Case, s: State, i: int, w: Worker) -> Worker:
    """A lease matters where the owner reads; a poll's age and failure matter for a lease."""
    leases = case.scope.clock and (i, True) in case.scope.readers
    poll = w.poll
    if poll is not None:
        poll = poll._replace(invalidated=tuple(row for row in poll.invalidated if row in s.outbox))
        if not leases:
            poll = poll._replace(age=0, failed=False)
            poll = poll if poll.todo or poll.invalidated else None
    return w._replace(poll=poll, lease=w.lease if leases else LEASE)


def _with_small_nonces(case: Case, s: State) -> State:
    """Small numbers for the nonces that can still be met, and no fill that cannot succeed.

    Without the rule of fresh nonces they keep their number, since any may come back.
    """
    names: dict[int, int] = {}
    for key in (s.key, s.dump or EMPTY):
        if len(key) == 4:
            names.setdefault(key[3], len(names) + 1)
    for i, r in enumerate(s.readers):
        if len(r.hold) == 4 and names.get(r.hold[3]) != r.hold[3]:
            s = s._replace(readers=with_reader(s, i, _renamed_hold(case, r, names)).readers)
    key = _renamed(s.key, names)
    dump = s.dump if s.dump is None else _renamed(s.dump, names)
    return s if (key, dump) == (s.key, s.dump) else s._replace(key=key, dump=dump)


def _renamed_hold(case: Case, r: Reader, names: dict[int, int]) -> Reader:
    hold = _renamed(r.hold, names)
    exact = case.rules.fill_over_same_bytes and case.rules.never_into_empty
    if hold[3] == DEAD and exact and r.pc != GOT:
        if r.pc == FILL:
            return Reader(worker=r.worker, owner=r.owner)
        hold = EMPTY
    return r._replace(hold=hold)


def _same(s: State) -> State:
    """One state for all that differ only by which of two like readers does what."""
    if len(s.readers) == 1:
        return s
    return s._replace(readers=tuple(sorted(s.readers)))


def moves(case: Case, s: State) -> Iterator[Move]:
    """Everything that can happen next."""
    yield from writer_moves(case, s)
    yield from relay_moves(case, s)
    yield from reader_moves(case, s)
    yield from near_moves(case, s)
    yield from fault_moves(case, s)
    yield from tick(case, s)


def search(rules: Rules, scope: Scope, limit: int = 1_000_000) -> Found:
    """Explore until a promise breaks, all states are seen, or `limit` of them are."""
    collects = gc.isenabled()
    gc.disable()  # states hold no cycles, and a collection would walk through all of them
    try:
        return _search(Case(rules, scope), limit)
    finally:
        if collects:
            gc.enable()


def _search(case: Case, limit: int) -> Found:
    start = first_state(case.scope)
    seen = {_same(start)}
    states, parents, labels = [start], [0], [""]
    taken: set[str] = set()
    at = 0
    while at < len(states) <= limit:
        for label, moved in moves(case, states[at]):
            taken.add(label)
            after = _settled(case, moved)
            before = len(seen)
            seen.add(_same(after))
            if len(seen) == before:
                continue
            states.append(after)
            parents.append(at)
            labels.append(label)
            if promise := violation(case, after):
                trace = _trace(states, parents, labels)
                return Found(len(states), False, promise, trace, frozenset(taken))
        at += 1
    return Found(len(states), at == len(states), "", (), frozenset(taken))


def _trace(states: list[State], parents: list[int], labels: list[str]) -> tuple[Move, ...]:
    path: list[Move] = []
    at = len(states) - 1
    while at:
        path.append((labels[at], states[at]))
        at = parents[at]
    return tuple(reversed(path))
