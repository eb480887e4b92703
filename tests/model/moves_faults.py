"""Faults that may happen at any moment, and the replica's lag."""

from collections.abc import Iterator

from tests.model.moves_worker import with_worker
from tests.model.moves_writer import show
from tests.model.scripts import Case
from tests.model.state import EMPTY, Move, Replica, State


def _newest(values: tuple[int, ...], bound: int) -> int:
    return max((v for v in values if v <= bound), default=0)


def _failover(s: State, keep: int) -> Move:
    """A standby that had `keep` records becomes the primary; what it lacks is lost."""
    log = s.log[:keep]
    lost = s.log[keep:]
    readers = tuple(r._replace(floor=_newest(log, r.floor), knows=False) for r in s.readers)
    after = s._replace(
        log=log,
        epoch=s.epoch + 1,
        former=(s.now, len(s.log) - 1),
        outbox=tuple(row for row in s.outbox if row in log),
        failovers=s.failovers + 1,
        readers=readers,
        acked=_newest(log, s.acked),
        acked_any=_newest(log, s.acked_any),
        workers=tuple(w._replace(top=_newest(log, w.top)) for w in s.workers),
    )
    what = "losing " + ", ".join(show(v) for v in lost) if lost else "losing nothing"
    return f"failover to a new timeline, {what}", after


def _replica_moves(s: State) -> Iterator[Move]:
    r = s.replica
    if r.epoch == s.epoch and r.position < len(s.log) - 1:
        caught_up = Replica(r.epoch, r.position + 1, s.log[r.position + 1])
        yield f"replica replays to {show(caught_up.value)}", s._replace(replica=caught_up)
    if r.epoch != s.epoch:
        position = min(r.position, len(s.log) - 1)
        joined = Replica(s.epoch, position, s.log[position])
        yield "replica joins the new timeline", s._replace(replica=joined)


def _redis_moves(case: Case, s: State) -> Iterator[Move]:
    if s.key != EMPTY and not s.cold and case.scope.evictions:
        yield "Redis evicts the key (or loses all keys)", s._replace(key=EMPTY)
    if not case.scope.restart:
        return
    if s.cold:
        key = EMPTY if case.rules.keys_name_their_run else s.key
        named = "names are new" if case.rules.keys_name_their_run else "names are as before"
        after = s._replace(key=key, cold=False)
        yield f"a worker connects, the run id is new: {named}", after
    elif s.dump is None:
        yield "Redis writes a dump", s._replace(dump=s.key)
    else:
        yield "Redis dies and comes back with the dump", s._replace(key=s.dump, cold=True)


def _move_bucket(s: State) -> Move:
    return (
        "the bucket moves to another shard",
        s._replace(log=(*s.log, 0), moved=(s.log[-1],)),
    )


def fault_moves(case: Case, s: State) -> Iterator[Move]:
    """Evictions, restarts, failovers, moves, and the replica going on."""
    yield from _replica_moves(s)
    yield from _redis_moves(case, s)
    if s.unflushed:
        yield "the WAL writer flushes", s._replace(unflushed=False)
    if s.failovers < case.scope.failovers:
        for keep in range(max(1, len(s.log) - 1), len(s.log) + 1):
            yield _failover(s, keep)
    if case.scope.restarts and s.failovers and not case.rules.timeline_is_remembered:
        for i, w in enumerate(s.workers):
            if not w.forgot:
                forgot = with_worker(s, i, w._replace(forgot=True))
                yield (
                    f"worker {i + 1} starts anew, only the former primary answers",
                    s._replace(workers=forgot),
                )
    if case.scope.move and not s.moved:
        yield _move_bucket(s)
