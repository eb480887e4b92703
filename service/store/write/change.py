"""Changes of items in one transaction: the protocol, and three ways to group requests.

Two round trips for any number of requests:

1. BEGIN, lock the rows, read the idempotency records (``locking``);
2. decide (``decided``), without waiting except for large patches; write changes, outbox rows and
   records, and COMMIT. Only an atomic group sends COMMIT apart, in a third round trip, once it
   is known that each change found its row.

If the answer to COMMIT is lost, requests with a key run again, because their record shows what
happened; for others the server is queried (``commit.committed``).
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import psycopg

from service.flow.offload import Offload
from service.model.change import Outcome, key_reused
from service.model.errors import (
    BatchFailed,
    DatabaseTimeout,
    DefinitionChanged,
    HotshelfError,
    InvalidContent,
    Location,
    OutcomeUnknown,
    RequestInProgress,
    ShardUnavailable,
)
from service.model.item import Item
from service.store.connection import Connection, Row
from service.store.round_trip import Step, round_trip
from service.store.shards import BucketMoved, Shard
from service.store.write import decided as decisions
from service.store.write.commit import Transaction, commit, committed, limiting, refusals
from service.store.write.decided import Decided, Pending, Refused, Replay
from service.store.write.locking import Found, Locked, lock_each, lock_free
from service.store.write.request import ItemRequest, LeftOut, Result, Write, raised


class _Way(NamedTuple):
    """How rows are locked and changes are written, and whether the group is atomic.

    ``aside``: decisions are made in a thread, because they have large patches.
    """

    lock: Callable[[Connection, Sequence[ItemRequest], float], Awaitable[Locked]]
    writing: Callable[[Sequence[Pending], float], list[Step]]
    atomic: bool = False
    aside: bool = False


_ALONE = _Way(lock_each, decisions.writing_each)
_AT_ONCE = _Way(partial(lock_each, waits=False), decisions.writing_each)
_GROUP = _Way(lock_free, decisions.writing_group)
_ATOMIC = _Way(lock_each, decisions.writing_each, atomic=True)

# As many threads as WritePolicy allows. Work of abandoned requests may still run, so two more jobs
# may wait; further ones get 503.
_THREADS = Offload(threads=2, max_waiting=2, deadline_s=10.0)


async def change_alone(shard: Shard, write: Write, ttl_s: float, *, aside: bool = False) -> Outcome:
    """Change one item, waiting for its row if another transaction has locked it.

    Raises LargePatch, unless it is decided ``aside``, in a thread.

    Raises what the decision raises, unless that is recorded and therefore the outcome's ``error``;
    and RequestInProgress, IdempotencyKeyReused, InvalidContent, DefinitionChanged, BucketMoved,
    OutcomeUnknown, ShardUnavailable, Overloaded and DatabaseTimeout.
    """
    return raised(*await _change(shard, [write], _ALONE._replace(aside=aside), ttl_s))


async def change_group(
    shard: Shard, writes: Sequence[Write], ttl_s: float, statement_s: float | None = None
) -> list[Result]:
    """Change items for independent requests, without waiting for locked rows.

    The results are in order: the outcome, or what ``change_alone`` would raise; LeftOut for
    requests that do not fit the group's statements (a locked or missing row, a record, a second
    change of an item), and for all if the database refuses the group because of one; and
    LargePatch. Raises ShardUnavailable, Overloaded, OutcomeUnknown, and DatabaseTimeout, if a
    statement takes longer than ``statement_s`` or the server's own timeout.
    """
    if len(writes) == 1:
        return await _change(shard, writes, _AT_ONCE, ttl_s, statement_s)
    firsts = {write.request.item_id: write for write in reversed(writes)}
    try:
        found = await _change(shard, list(firsts.values()), _GROUP, ttl_s, statement_s)
    except (InvalidContent, BucketMoved, DefinitionChanged, psycopg.Error):
        return [LeftOut()] * len(writes)
    results = dict(zip(firsts, found, strict=True))
    return [
        results[write.request.item_id] if firsts[write.request.item_id] is write else LeftOut()
        for write in writes
    ]


async def change_atomic(
    shard: Shard, writes: Sequence[Write], ttl_s: float, *, aside: bool = False
) -> list[Outcome]:
    """Change several items, all or none; if every request has a record, all are replayed.

    Raises BatchFailed, which names the operations that cannot be done, and what ``change_alone``
    raises. The writes' items differ from each other.
    """
    results = await _change(shard, writes, _ATOMIC._replace(aside=aside), ttl_s)
    return [raised(result) for result in results]


async def _change(
    shard: Shard,
    writes: Sequence[Write],
    way: _Way,
    ttl_s: float,
    statement_s: float | None = None,
) -> list[Result]:
    requests = [write.request for write in writes]
    decided: list[Decided] = []
    transaction: Transaction | None = None
    try:
        async with shard.primary() as connection, _rolled_back(connection):
            found, transaction = await way.lock(connection, requests, ttl_s)
            decided = await _decided(writes, found, way.aside)
            if way is _GROUP:
                decided = decisions.without_creations(decided)
            if way.atomic:
                _check_all(decided)
            return await _write(connection, decided, way, ttl_s, limiting(statement_s))
    except ShardUnavailable as lost:
        if transaction is None or not any(request.commit_sent for request in requests):
            raise
        return await _after_loss(shard, decided, transaction, way.atomic, lost)


async def _decided(
    writes: Sequence[Write], found: Sequence[Found | None], aside: bool
) -> list[Decided]:
    if not aside:
        return decisions.decide_all(writes, found)
    decided = [
        await _THREADS.run(decisions.decide, write, one, math.inf)
        for write, one in zip(writes, found, strict=True)
    ]
    # Checked again, because the deadline may have passed meanwhile.
    given_up = [write.request.given_up for write in writes]
    return [DatabaseTimeout() if late else one for one, late in zip(decided, given_up, strict=True)]


def _check_all(decided: Sequence[Decided]) -> None:
    """Raises BatchFailed if a request fails, or cannot be combined with the others."""
    if all(isinstance(one, Replay) for one in decided):
        return
    locations = []
    for index, one in enumerate(decided):
        error: Exception | None = None
        if isinstance(one, Replay):
            error = key_reused()
        elif isinstance(one, Refused):
            error = one.error
        elif isinstance(one, Exception):
            error = one
        if isinstance(error, HotshelfError) and not isinstance(error, RequestInProgress):
            detail = f"failed with {error.code}: {error.detail}"
            locations.append(Location(detail, pointer=f"/operations/{index}"))
        elif error is not None:
            raise error
    if locations:
        raise BatchFailed("An operation failed, so none took effect.", *locations)


async def _write(
    connection: Connection,
    decided: Sequence[Decided],
    way: _Way,
    ttl_s: float,
    first: Sequence[Step],
) -> list[Result]:
    pending = [one for one in decided if isinstance(one, Pending)]
    requests = [one.request for one in pending]
    payloads = [
        one.request.data for one in decided if isinstance(one, Replay) and one.needs_payload
    ]
    rebuilding = [decisions.rebuilding(data) for data in payloads]
    steps = [*rebuilding, *way.writing(pending, ttl_s)]
    steps += [decisions.recording(one, ttl_s) for one in decided if isinstance(one, Refused)]
    if len(steps) == len(rebuilding):
        answers = await round_trip(connection, *steps, ("ROLLBACK", ()))
    elif way.atomic:
        with refusals():
            answers = await round_trip(connection, *steps)
        results = _results(decided, answers, len(rebuilding))
        await commit(connection, requests)
        return results
    else:
        answers = (await commit(connection, requests, *first, *steps))[len(first) :]
    return _results(decided, answers, len(rebuilding))


def _results(
    decided: Sequence[Decided], answers: Sequence[list[Row]], rebuilt: int
) -> list[Result]:
    """One result for each request; the first ``rebuilt`` answers are the texts of replays."""
    texts = (row for [row] in answers[:rebuilt])
    rows = {row[0].bytes: row for rows in answers[rebuilt:] for row in rows}
    results: list[Result] = []
    for one in decided:
        if isinstance(one, Pending):
            results.append(decisions.written(one, rows.get(one.request.item_id)))
        elif isinstance(one, Refused):
            results.append(decisions.refused(one))
        elif isinstance(one, Replay):
            results.append(decisions.replayed(one, next(texts) if one.needs_payload else None))
        else:
            results.append(one)
    return results


async def _after_loss(
    shard: Shard,
    decided: Sequence[Decided],
    transaction: Transaction,
    atomic: bool,
    lost: ShardUnavailable,
) -> list[Result]:
    """The results if COMMIT got no answer. Raises ``lost`` if all requests may run again.

    An atomic group with a request without a key cannot run again.
    """
    pending = [one for one in decided if isinstance(one, Pending)]
    asked = [one for one in pending if one.request.claim is None]
    if not asked:
        raise lost
    if atomic:
        asked = pending
    outcomes: Sequence[Result]
    try:
        done = await committed(shard, transaction)
        outcomes = await _as_committed(shard, asked, transaction) if done else [lost] * len(asked)
    except OutcomeUnknown as unknown:
        outcomes = [unknown] * len(asked)
    results = {one.request.item_id: outcome for one, outcome in zip(asked, outcomes, strict=True)}
    for one in asked:
        one.request.commit_sent = False
    return [
        one if isinstance(one, Exception) else results.get(one.request.item_id, lost)
        for one in decided
    ]


async def _as_committed(
    shard: Shard, pending: Sequence[Pending], transaction: Transaction
) -> list[Outcome]:
    """The results after a commit whose answer was lost. Rows are not read, because they may have
    changed.

    Raises OutcomeUnknown if the texts cannot be queried; it must not raise an error with
    ``run_again``, because the changes are committed.
    """
    changed = [one for one in pending if one.change.kind != "deleted"]
    answers: list[list[Row]] = []
    try:
        if changed:
            async with shard.primary(reading=True) as connection:
                steps = [decisions.rebuilding(one.change.data) for one in changed]
                answers = await round_trip(connection, *steps)
    except HotshelfError:
        raise OutcomeUnknown from None
    texts = {one.request.item_id: row[0] for one, [row] in zip(changed, answers, strict=True)}
    return [
        one.outcome(_item_after(one, transaction, texts.get(one.request.item_id)))
        for one in pending
    ]


def _item_after(pending: Pending, transaction: Transaction, text: str | None) -> Item:
    before, change, now = pending.before, pending.change, transaction.now
    data = None if text is None else text.encode()
    item_id, of = pending.request.item_id, pending.request.collection
    version = 1 if before is None else before.version + 1
    if change.kind == "created" or before is None:
        return Item(item_id, change.owner_id, version, now, now, data, of)
    return Item(item_id, before.owner_id, version, before.created_at, now, data, of)


@asynccontextmanager
async def _rolled_back(connection: Connection) -> AsyncIterator[None]:
    """Roll back if the block raises an error; a lost connection needs no ROLLBACK."""
    try:
        yield
    except Exception:
        if not connection.closed and not connection.idle:
            await round_trip(connection, ("ROLLBACK", ()))
        raise
