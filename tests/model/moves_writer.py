"""A write: COMMIT with its outbox row, invalidate, acknowledge, delete the row; or die."""

from collections.abc import Iterator

from tests.model.scripts import Case, invalidate
from tests.model.state import (
    ACKNOWLEDGED,
    COMMITTED,
    CONFIRMED,
    DIED,
    EARLY,
    FIRST,
    OVER,
    WAIT,
    Move,
    State,
    Value,
    Writer,
)


def show(value: Value) -> str:
    """A value as traces print it: v2, or v2' for one committed after a failover."""
    return "nothing" if not value & 7 else f"v{value & 7}" + "'" * (value >> 3)


def with_writer(s: State, i: int, writer: Writer) -> tuple[Writer, ...]:
    """All writers with this one in its place."""
    return (*s.writers[:i], writer, *s.writers[i + 1 :])


def without_row(s: State, value: Value) -> tuple[Value, ...]:
    """The outbox after this version's row is deleted."""
    return tuple(row for row in s.outbox if row != value)


def acknowledged(s: State, value: Value, *, sure: bool) -> State:
    """The client has its answer. A version that a failover took back promises nothing."""
    if value not in s.history:
        return s
    return s._replace(
        acked=max(s.acked, value) if sure else s.acked, acked_any=max(s.acked_any, value)
    )


def _next_value(s: State) -> Value:
    return s.epoch * 8 + (s.now & 7) + 1


def _commit(case: Case, s: State, i: int, pc: int) -> State:
    value = _next_value(s)
    outbox = s.outbox
    if case.rules.outbox_in_transaction and (case.rules.known_id_is_invalidated or s.now):
        outbox = (*outbox, value)
    log, moved = s.log, s.moved
    if moved:
        moved = (*moved, value)
    else:
        log = (*log, value)
    writer = Writer(pc, value, s.epoch)
    return s._replace(
        log=log,
        moved=moved,
        outbox=outbox,
        unflushed=not case.rules.commit_is_flushed,
        writers=with_writer(s, i, writer),
    )


def _begin(case: Case, s: State, i: int) -> Iterator[Move]:
    name = f"writer {i + 1}"
    if any(w.pc == EARLY for w in s.writers):
        return
    if not case.rules.invalidate_after_commit:
        value = _next_value(s)
        early = Writer(EARLY, value, s.epoch)
        invalidated = invalidate(case, s, s.epoch, value)
        yield (
            f"{name}: invalidates for {show(value)} before its COMMIT",
            invalidated._replace(writers=with_writer(s, i, early)),
        )
        return
    if not case.rules.known_id_is_invalidated and not s.now:
        after = _commit(case, s, i, OVER)
        yield (
            f"{name}: creates v1 without outbox row or invalidation, acknowledges",
            acknowledged(after, after.now, sure=True),
        )
        return
    after = _commit(case, s, i, COMMITTED)
    row = "with its outbox row" if after.outbox != s.outbox else "without an outbox row"
    yield f"{name}: COMMIT {show(after.now)} {row}", after


def _on_former(case: Case, s: State, i: int) -> Iterator[Move]:
    """A write of a worker that takes the primary left behind by a failover for the primary."""
    w = s.workers[0]
    rules, scope = case.rules, case.scope
    if not s.failovers or not scope.former_writes or s.former_written:
        return
    # Whoever has not heard of the failover yet writes there with any rule: see the page.
    believed = not rules.highest_timeline_counts and w.epoch == s.epoch
    if not believed and not w.forgot:
        return
    epoch = s.epoch - 1
    value = epoch * 8 + (s.former[0] & 7) + 1
    invalidated = s if s.cold else invalidate(case, s, epoch, value)
    after = invalidated._replace(
        former=(value, s.former[1] + 1),
        former_written=True,
        writers=with_writer(s, i, Writer(OVER)),
        acked=max(s.acked, value),
        acked_any=max(s.acked_any, value),
    )
    yield f"writer {i + 1}: COMMIT {show(value)} on the former primary, acknowledges", after


def _invalidate(case: Case, s: State, i: int, w: Writer) -> Iterator[Move]:
    if s.cold:
        return
    invalidated = invalidate(case, s, w.epoch, w.value)
    sure = invalidated._replace(writers=with_writer(s, i, w._replace(pc=CONFIRMED, age=0)))
    yield f"writer {i + 1}: invalidates for {show(w.value)}, Redis confirms", sure
    if case.scope.lost_replies:
        yield f"writer {i + 1}: invalidates for {show(w.value)}, the reply is lost", invalidated


def _acknowledge(case: Case, s: State, i: int, w: Writer) -> Iterator[Move]:
    name = f"writer {i + 1}"
    done = s._replace(writers=with_writer(s, i, w._replace(pc=ACKNOWLEDGED, age=0)))
    over = s._replace(writers=with_writer(s, i, w._replace(pc=OVER, age=0)))
    if w.pc == CONFIRMED:
        yield f"{name}: acknowledges {show(w.value)}", acknowledged(done, w.value, sure=True)
        return
    if w.value not in s.outbox:
        yield (
            f"{name}: its row is gone, acknowledges {show(w.value)}",
            acknowledged(over, w.value, sure=True),
        )
        return
    wait = WAIT if case.rules.wait_outlasts_lease else WAIT - 1
    if not case.rules.ack_waits:
        wait = 0
    if not case.scope.clock or w.age >= wait:
        yield (
            f"{name}: acknowledges {show(w.value)} without Redis's confirmation",
            acknowledged(over, w.value, sure=False),
        )


def _replay(case: Case, s: State, i: int, w: Writer) -> Iterator[Move]:
    if not case.rules.replay_invalidates_first:
        over = s._replace(writers=with_writer(s, i, w._replace(pc=OVER)))
        answered = acknowledged(over, w.value, sure=False)
        yield f"replay of write {i + 1}: acknowledges at once", answered
        return
    again = w._replace(pc=COMMITTED, age=0)
    yield (
        f"replay of write {i + 1}: finds its record and begins to invalidate",
        s._replace(writers=with_writer(s, i, again)),
    )


def writer_moves(case: Case, s: State) -> Iterator[Move]:
    """Every step that some writer can take now. Writes are alike, so they commit in order."""
    for i, w in enumerate(s.writers):
        if w.pc == FIRST:
            yield from _begin(case, s, i)
            yield from _on_former(case, s, i)
            return
        if w.pc == EARLY:
            after = _commit(case, s, i, CONFIRMED)
            yield f"writer {i + 1}: COMMIT {show(after.now)} with its outbox row", after
        elif w.pc == COMMITTED:
            yield from _invalidate(case, s, i, w)
        if w.pc in (COMMITTED, CONFIRMED):
            yield from _acknowledge(case, s, i, w)
            if case.scope.replays:
                died = w._replace(pc=DIED, age=0)
                yield f"writer {i + 1}: dies", s._replace(writers=with_writer(s, i, died))
        may_delete = w.pc in (CONFIRMED, ACKNOWLEDGED) or (
            w.pc in (COMMITTED, OVER) and not case.rules.delete_only_invalidated
        )
        if may_delete and w.value in s.outbox:
            yield (
                f"writer {i + 1}: deletes the outbox row of {show(w.value)}",
                s._replace(outbox=without_row(s, w.value)),
            )
        elif w.pc == DIED:
            yield from _replay(case, s, i, w)
