"""Steps of a worker besides requests: relay passes with its read lease, and its subscription."""

from collections.abc import Iterator

from tests.model.moves_writer import show
from tests.model.scripts import Case, invalidate
from tests.model.state import (
    COMMITTED,
    GOT,
    LEASE,
    LIVE,
    LOST,
    NOTICED,
    Move,
    Poll,
    Reader,
    State,
    Worker,
)


def with_worker(s: State, i: int, worker: Worker) -> tuple[Worker, ...]:
    """All workers with this one in its place."""
    return (*s.workers[:i], worker, *s.workers[i + 1 :])


def _poll(case: Case, s: State, i: int, w: Worker) -> Move:
    rows = s.outbox
    if not case.rules.plain_select:
        held = {row for other in s.workers if other.poll for row in other.poll.todo}
        rows = tuple(row for row in rows if row not in held)
    poll = Poll(rows, epoch=s.epoch)
    seen = ", ".join(show(row) for row in rows) or "no row"
    after = s._replace(workers=with_worker(s, i, w._replace(poll=poll, epoch=s.epoch)))
    return f"relay of worker {i + 1}: SELECTs {seen}", after


def _invalidate_next(case: Case, s: State, i: int, w: Worker, poll: Poll) -> Iterator[Move]:
    row, rest = poll.todo[0], poll.todo[1:]
    name = f"relay of worker {i + 1}"
    if not s.cold:
        invalidated = invalidate(case, s, poll.epoch, row)
        done = poll._replace(todo=rest, invalidated=(*poll.invalidated, row))
        worker = invalidated.workers[i]._replace(poll=done)
        after = invalidated._replace(workers=with_worker(invalidated, i, worker))
        yield f"{name}: invalidates for {show(row)}", after
    failed = poll._replace(todo=rest, failed=True)
    yield (
        f"{name}: its invalidation of {show(row)} fails",
        s._replace(workers=with_worker(s, i, w._replace(poll=failed))),
    )


def _finish(case: Case, s: State, i: int, w: Worker, poll: Poll) -> Move:
    gone = set(poll.invalidated) if case.rules.relay_deletes_only_invalidated else set(s.outbox)
    lease = w.lease
    if not poll.failed or not case.rules.lease_after_all_invalidations:
        lease = poll.age if case.rules.lease_from_sending else 0
    if not case.scope.clock:
        lease = LEASE
    worker = w._replace(poll=None, lease=min(lease, w.lease))
    after = s._replace(
        outbox=tuple(row for row in s.outbox if row not in gone),
        workers=with_worker(s, i, worker),
    )
    renewal = "renews its lease" if lease < LEASE else "renews no lease"
    return f"relay of worker {i + 1}: deletes what it invalidated, {renewal}", after


def relay_moves(case: Case, s: State) -> Iterator[Move]:
    """Every step that some relay can take now. One that stalls takes none."""
    for i, w in enumerate(s.workers):
        if case.scope.relay:
            if w.poll is None:
                yield _poll(case, s, i, w)
            elif w.poll.todo:
                yield from _invalidate_next(case, s, i, w, w.poll)
            else:
                yield _finish(case, s, i, w, w.poll)
        elif w.epoch != s.epoch:
            after = s._replace(workers=with_worker(s, i, w._replace(epoch=s.epoch)))
            yield f"worker {i + 1}: learns the new epoch", after


def _forbid(s: State, i: int) -> tuple[Reader, ...]:
    return tuple(
        r._replace(may_store=False) if r.pc == GOT and r.worker == i else r for r in s.readers
    )


def near_moves(case: Case, s: State) -> Iterator[Move]:
    """Messages arrive; a subscription breaks, is found broken, is made again."""
    if not case.scope.near:
        return
    for i, w in enumerate(s.workers):
        name = f"worker {i + 1}"
        if w.queue:
            heard = w._replace(queue=w.queue - 1, near=-1)
            readers = _forbid(s, i) if case.rules.message_forbids_store else s.readers
            after = s._replace(workers=with_worker(s, i, heard), readers=readers)
            yield f"{name}: hears of the item, drops it from the near cache", after
        if w.subscription == LIVE:
            lost = w._replace(subscription=LOST, queue=0)
            after = s._replace(workers=with_worker(s, i, lost))
            yield f"{name}: its subscription breaks, not noticed yet", after
        elif w.subscription == LOST:
            noticed = w._replace(subscription=NOTICED)
            if case.rules.lost_subscription_empties:
                noticed = noticed._replace(near=-1)
            lost_too = case.rules.lost_subscription_forbids_store
            readers = _forbid(s, i) if lost_too else s.readers
            after = s._replace(workers=with_worker(s, i, noticed), readers=readers)
            yield f"{name}: notices the lost subscription", after
        else:
            live = w._replace(subscription=LIVE)
            lost_too = case.rules.lost_subscription_forbids_store
            readers = _forbid(s, i) if lost_too else s.readers
            after = s._replace(workers=with_worker(s, i, live), readers=readers)
            yield f"{name}: subscribes again", after


def tick(case: Case, s: State) -> Iterator[Move]:
    """Every clock advances by one."""
    if not case.scope.clock:
        return
    writers = tuple(
        w._replace(age=min(w.age + 1, LEASE)) if w.pc == COMMITTED else w for w in s.writers
    )
    workers = tuple(
        w._replace(
            lease=min(w.lease + 1, LEASE),
            poll=w.poll and w.poll._replace(age=min(w.poll.age + 1, LEASE)),
        )
        for w in s.workers
    )
    yield "a tick passes", s._replace(writers=writers, workers=workers)
