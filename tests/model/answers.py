"""An answer, and the promises' requirements for it and for every state."""

from collections.abc import Iterator

from tests.model.scripts import Case
from tests.model.state import (
    EMPTY,
    ENTRY,
    FILL,
    LIVE,
    LOST,
    NOTICED,
    Move,
    Reader,
    State,
    Value,
    Worker,
)


def least(case: Case, s: State, r: Reader, w: Worker, *, knows: bool) -> Value:
    """The least value that a read which begins now may answer while it reaches Redis and primary.

    Where a primary left behind goes on answering, a worker that has not heard of the failover is
    excused until its next poll, except before the item's owner.
    """
    floor = s.acked_any if r.owner else s.acked
    if not knows and not r.owner and case.scope.former_answers:
        floor = 0
    return max(floor, w.top) if case.scope.memory else floor


def near_hit(case: Case, s: State, i: int, r: Reader, name: str) -> Iterator[Move]:
    """An answer from the near cache changes nothing, so it is a move only when it is wrong."""
    w = s.workers[r.worker]
    off = w.subscription == NOTICED and case.rules.lost_subscription_empties
    if w.near < 0 or off or (r.owner and case.rules.owner_never_reads_near):
        return
    if w.near < w.memory and case.rules.near_not_below_memory:
        return
    if case.scope.memory and not r.owner and w.near < w.top:
        broken = "versions: the near cache answers an older version than this worker did"
        yield f"{name}: the near cache answers", s._replace(broken=broken)
        return
    may_be_behind = not r.owner and (w.queue or w.subscription == LOST)
    if w.near < r.floor and not may_be_behind:
        promise = "P3" if r.owner else "near"
        broken = f"{promise}: the near cache answers an old version and no message is on its way"
        if r.owner:
            broken = "P3: the near cache answers the owner with an old version"
        yield f"{name}: the near cache answers", s._replace(broken=broken)


def _verdict(s: State, r: Reader, value: Value) -> str:
    if value < r.floor:
        if r.owner:
            return "P3: the owner does not read its own acknowledged write"
        if not value:
            return "404: an item whose creation was acknowledged is denied"
        if value < s.acked:
            return "P1: a read that began after the acknowledgement answers an older version"
        return "versions: what one worker answers goes down"
    if r.knows and value and value not in s.history:
        return "P2: a version that a failover lost is served under a known newer epoch"
    return ""


def answer(case: Case, s: State, i: int, r: Reader, value: Value, *, by: str = "database") -> State:
    """The reader answers; then it may fill, remember and store near."""
    w = s.workers[r.worker]
    if case.scope.memory:
        memory = max(w.memory, value) if by == "database" else w.memory
        w = w._replace(memory=memory, top=max(w.top, value))
    keep = by == "redis" or not case.rules.near_only_from_get
    if case.scope.near and keep and r.may_store and w.subscription == LIVE and not r.owner:
        w = w._replace(near=value)
    after = Reader(worker=r.worker, owner=r.owner)
    if by == "database" and r.proved and r.hold != EMPTY:
        after = after._replace(pc=FILL, hold=r.hold, value=value, epoch=r.source)
    return s._replace(
        readers=(*s.readers[:i], after, *s.readers[i + 1 :]),
        workers=(*s.workers[: r.worker], w, *s.workers[r.worker + 1 :]),
        broken=_verdict(s, r, value),
    )


def violation(case: Case, s: State) -> str:
    """Which promise this state breaks; "" if none.

    An entry that would be served is judged as it stands: the GET that meets it needs no step of
    its own.
    """
    if s.broken:
        return s.broken
    key = s.key
    if not key or key[0] != ENTRY or s.cold:
        return ""
    value, old = key[2], key[1] < s.epoch
    if value < s.acked and not (old and case.scope.former_answers):
        return "P1: an entry older than a write acknowledged with Redis's confirmation can be read"
    if old and case.rules.old_epoch_is_miss:
        return ""
    if value < s.now and not any(row > value for row in s.outbox):
        return "P2: a stale entry, and no outbox row is pending that would remove it"
    return ""
