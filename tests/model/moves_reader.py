"""Steps of a read: GET, fill lease, proof, rows, primary, fill; also without Redis or primary.

GET and acquiring a fill lease are one step (a refused compare-and-set is taken as the answer to
GET), and so are the last look at a database and the answer. Whatever else may be late is a step of
its own.
"""

from collections.abc import Iterator

from tests.model.answers import answer, least, near_hit
from tests.model.moves_writer import show
from tests.model.scripts import Case, acquire, fill, not_below
from tests.model.state import (
    ASK_LSN,
    EMPTY,
    ENTRY,
    FILL,
    FILL_LEASE,
    GOT,
    IDLE,
    INVALIDATION,
    LEASE,
    LIVE,
    POSITION,
    PRIMARY,
    ROWS,
    SNAPSHOT,
    Key,
    Move,
    Reader,
    State,
)

NAMES = "ABCD"


def with_reader(s: State, i: int, reader: Reader) -> State:
    """The state with this reader in its place."""
    return s._replace(readers=(*s.readers[:i], reader, *s.readers[i + 1 :]))


def _name(s: State, i: int) -> str:
    r = s.readers[i]
    return f"reader {NAMES[i]}" + (" (owner)" if r.owner else "")


def _start(case: Case, s: State, i: int) -> Iterator[Move]:
    idle = s.readers[i]
    w = s.workers[idle.worker]
    knows = w.epoch == s.epoch
    r = idle._replace(
        epoch=w.epoch,
        knows=knows,
        floor=least(case, s, idle, w, knows=knows),
        leased=w.lease < LEASE,
        may_store=w.subscription == LIVE,
    )
    name = _name(s, i)
    yield from near_hit(case, s, i, r, name)
    if case.scope.redis_away:
        yield from _without_redis(case, s, i, r)
    if s.cold:
        return
    if not case.rules.fill_lease_before_lsn:
        early = r._replace(pc=GOT, lsn=len(s.log) - 1, hold=EMPTY)
        yield f"{name}: asks the primary's LSN before its GET", with_reader(s, i, early)
    elif case.scope.in_flight:
        yield (
            f"{name}: GET finds {describe(s.key)}, the reply is under way",
            with_reader(s, i, r._replace(pc=GOT, hold=s.key)),
        )
        yield from _join(case, s, i, r)
    else:
        yield from _look(case, s, i, r, s.key)


def _join(case: Case, s: State, i: int, r: Reader) -> Iterator[Move]:
    if case.rules.join_before_sending:
        return
    for other in s.readers:
        if other.pc == GOT and other.worker == r.worker:
            joined = r._replace(pc=GOT, hold=other.hold)
            yield f"{_name(s, i)}: joins the GET that is under way", with_reader(s, i, joined)


def _reply(case: Case, s: State, i: int) -> Iterator[Move]:
    """The GET's reply arrives. If it found nothing, the lease is acquired on what is there now."""
    r = s.readers[i]
    seen = r.hold
    if not case.rules.lease_read_before_get:
        r = r._replace(leased=s.workers[r.worker].lease < LEASE)
    if seen == EMPTY or seen[0] == FILL_LEASE:
        if not s.cold:
            yield from _look(case, s, i, r, s.key)
    else:
        yield from _look(case, s, i, r, seen)


def _look(case: Case, s: State, i: int, r: Reader, key: Key) -> Iterator[Move]:
    """What follows from the bytes under the key."""
    name, rules = _name(s, i), case.rules
    old = len(key) > 0 and key[0] != FILL_LEASE and key[1] < r.epoch and rules.old_epoch_is_miss
    if key[:1] == (ENTRY,) and not old:
        value = key[2]
        if rules.worker_remembers and value < s.workers[r.worker].memory:
            to_primary = r._replace(pc=PRIMARY, hold=key)
            yield (
                f"{name}: {describe(key)} is below what this worker has seen",
                with_reader(s, i, to_primary),
            )
        elif r.owner and not r.leased and rules.owner_needs_lease:
            to_primary = r._replace(pc=PRIMARY, hold=EMPTY)
            yield f"{name}: an entry, but no read lease", with_reader(s, i, to_primary)
        else:
            yield f"{name}: answers {describe(key)}", answer(case, s, i, r, value, by="redis")
    elif key[:1] == (INVALIDATION,) and not old:
        pc = PRIMARY if rules.invalidation_sends_to_primary else ROWS
        yield f"{name}: meets {describe(key)}", with_reader(s, i, r._replace(pc=pc, hold=key))
    elif key[:1] == (FILL_LEASE,):
        yield from _miss(case, s, i, r, EMPTY)
    else:
        leased = acquire(case, s)
        yield from _miss(case, leased, i, r, leased.key)


def _miss(case: Case, s: State, i: int, r: Reader, hold: Key) -> Iterator[Move]:
    did = "acquires a fill lease" if hold else "another has the fill lease, goes on without"
    if not case.rules.fill_lease_before_lsn:
        pc = POSITION
    elif not case.rules.lsn_before_rows:
        pc = SNAPSHOT
    else:
        pc = ASK_LSN
    yield f"{_name(s, i)}: {did}", with_reader(s, i, r._replace(pc=pc, hold=hold))


def _ask_lsn(case: Case, s: State, i: int) -> Iterator[Move]:
    r, name = s.readers[i], _name(s, i)
    pc = POSITION if case.rules.position_before_snapshot else SNAPSHOT
    lsn = len(s.log) - 1 - s.unflushed
    asked = r._replace(pc=pc, lsn=lsn, source=s.epoch)
    yield f"{name}: the primary's LSN is {lsn}", with_reader(s, i, asked)
    if s.failovers and case.scope.former_answers:
        former = r._replace(pc=pc, lsn=s.former[1], source=s.epoch - 1, floor=0, knows=False)
        yield f"{name}: a former primary's LSN is {s.former[1]}", with_reader(s, i, former)
    if case.scope.primary_away:
        proved = not case.rules.unproved_never_fills
        yield (
            f"{name}: no primary, the replica answers {show(s.replica.value)}",
            answer(case, s, i, r._replace(floor=0, knows=False, proved=proved), s.replica.value),
        )


def _snapshot(case: Case, s: State, i: int) -> Iterator[Move]:
    """Only with a rule left out: the row is read before the position is known."""
    pc = POSITION if case.rules.lsn_before_rows else ASK_LSN
    read = s.readers[i]._replace(pc=pc, value=s.replica.value)
    yield f"{_name(s, i)}: the replica's snapshot has {show(read.value)}", with_reader(s, i, read)


def _position(case: Case, s: State, i: int) -> Iterator[Move]:
    r, name, rules = s.readers[i], _name(s, i), case.rules
    there = s.replica.position >= r.lsn or not rules.lsn_is_proved
    if there and (s.replica.epoch == r.source or not rules.same_timeline):
        if rules.lsn_before_rows and rules.position_before_snapshot:
            yield (
                f"{name}: the replica has that LSN",
                with_reader(s, i, r._replace(pc=ROWS, lsn=-1)),
            )
        else:
            yield (
                f"{name}: the replica has that LSN, answers {show(r.value)}",
                answer(case, s, i, _unmoved(case, r), r.value),
            )
    else:
        yield f"{name}: the replica is behind", with_reader(s, i, r._replace(pc=PRIMARY, lsn=-1))


def _rows(case: Case, s: State, i: int) -> Iterator[Move]:
    r, value = _unmoved(case, s.readers[i]), s.replica.value
    if not value and s.moved and s.replica.position and case.rules.absent_needs_ownership:
        moved = r._replace(pc=PRIMARY)
        yield f"{_name(s, i)}: that shard no longer owns the bucket", with_reader(s, i, moved)
        return
    yield (
        f"{_name(s, i)}: the replica answers {show(value)}",
        answer(case, s, i, r, value),
    )


def _primary(case: Case, s: State, i: int) -> Iterator[Move]:
    r, name = s.readers[i], _name(s, i)
    value = s.now
    if s.moved and not case.rules.absent_needs_ownership:
        yield f"{name}: the old shard's primary has no row", answer(case, s, i, r, 0)
    read = _fills(case, r._replace(source=s.epoch), value)
    yield f"{name}: the primary answers {show(value)}", answer(case, s, i, read, value)
    if not s.failovers:
        return
    elsewhere = r._replace(floor=0, knows=False)
    if case.scope.former_answers:
        value = s.former[0]
        read = _fills(case, elsewhere._replace(source=s.epoch - 1), value)
        yield f"{name}: a former primary answers {show(value)}", answer(case, s, i, read, value)
    unknown = case.scope.role_unknown and r.hold[:1] == (INVALIDATION,)
    if s.replica.epoch == s.epoch and (unknown or not case.rules.primary_not_in_recovery):
        value = s.replica.value
        read = _fills(case, elsewhere._replace(source=s.epoch), value)
        yield (
            f"{name}: a former primary, now a standby, answers {show(value)}",
            answer(case, s, i, read, value),
        )


def _fills(case: Case, r: Reader, value: int) -> Reader:
    """Whether what a primary returned may replace the invalidation."""
    held = r.hold[:1] in ((INVALIDATION,), (ENTRY,))
    below = held and not not_below(case, (r.source, value), (r.hold[1], r.hold[2]))
    fills = _unmoved(case, r)
    forbidden = below and case.rules.fill_not_below_invalidation
    return fills._replace(proved=False) if forbidden else fills


def _unmoved(case: Case, r: Reader) -> Reader:
    """The row of another timeline than the one known at the GET does not fill."""
    changed = r.source != r.epoch and case.rules.source_has_known_epoch
    return r._replace(proved=not changed)


def _without_redis(case: Case, s: State, i: int, r: Reader) -> Iterator[Move]:
    name, value = f"{_name(s, i)} without Redis", s.replica.value
    known = 1 if s.acked_any else 0
    r = r._replace(floor=s.acked_any if r.owner else known, proved=False)
    ask = (r.owner and case.rules.owner_to_primary_without_redis) or (
        not value and case.rules.absent_to_primary_without_redis
    )
    who, value = ("primary", s.now) if ask else ("replica", value)
    yield f"{name}: the {who} answers {show(value)}", answer(case, s, i, r, value)


def _fill(case: Case, s: State, i: int) -> Iterator[Move]:
    r = s.readers[i]
    after = fill(case, s, r.hold, r.epoch, r.value)
    did = f"fills {show(r.value)}" if after.key != s.key else "its fill is refused"
    idle = Reader(worker=r.worker, owner=r.owner)
    yield f"{_name(s, i)}: {did}", with_reader(after, i, idle)


def describe(key: Key) -> str:
    """The key's contents as traces print them."""
    if not key:
        return "nothing"
    if key[0] == FILL_LEASE:
        return "a fill lease"
    return f"{'entry' if key[0] == ENTRY else 'invalidation'} {show(key[2])} (epoch {key[1]})"


STEPS = {
    IDLE: _start,
    GOT: _reply,
    ASK_LSN: _ask_lsn,
    SNAPSHOT: _snapshot,
    POSITION: _position,
    ROWS: _rows,
    PRIMARY: _primary,
    FILL: _fill,
}


def reader_moves(case: Case, s: State) -> Iterator[Move]:
    """Every step that some reader can take now."""
    for i, r in enumerate(s.readers):
        if r.pc == FILL and s.cold:
            continue
        yield from STEPS[r.pc](case, s, i)
