"""One item changed in two round trips, its row locked while the caller decides.

The first brings BEGIN, the row under lock and the record of the request's key; the second the
change with its record, and COMMIT. What lies between is one decision without any waiting.
"""

from dataclasses import dataclass

import orjson
import psycopg
from psycopg.types.numeric import Int4, Int8

from service.model.change import (
    Committed,
    Outcome,
    in_progress,
    is_kept,
    key_reused,
    not_rebuilt,
    problem_again,
)
from service.model.errors import HotshelfError, ShardUnavailable
from service.model.item import Item
from service.store import statements
from service.store.item_rows import item_of
from service.store.nodes import Connection, Row
from service.store.round_trip import round_trip
from service.store.shards import BucketMoved, Shard
from service.store.write.change import (
    ItemRequest,
    Pending,
    Write,
    after_loss,
    commit,
    outcome_of,
    record_columns,
    record_of,
    refusal,
    rolled_back,
    statement_of,
)
from service.store.write.commit import Transaction


class RowLocked(Exception):
    """Somebody else has the row; nothing was done."""


@dataclass(frozen=True, slots=True)
class _Locked:
    """The row and what was found beside it."""

    item: Item | None
    free: bool
    epoch: int | None
    transaction: Transaction | None
    record: Row | None


async def change_item(shard: Shard, write: Write, ttl_s: float, *, waits: bool = True) -> Outcome:
    """Do what is decided of the item as it is, a tombstone too, or replay the record.

    An error that ``decide`` raises is raised, or is the outcome if it is one to be recorded.
    Raises RequestInProgress, IdempotencyKeyReused, InvalidContent, BucketMoved, OutcomeUnknown,
    ShardUnavailable, Overloaded and DatabaseTimeout; RowLocked where it ``waits`` for nobody.
    """
    request = write.request
    pending: Pending | None = None
    try:
        async with shard.primary() as connection, rolled_back(connection):
            locked = await _lock(connection, request, ttl_s, waits)
            if locked.record is not None:
                return await _replayed(connection, request, locked.record, locked.epoch)
            if not locked.free:
                raise in_progress()
            if locked.epoch is None:
                raise BucketMoved
            try:
                change = write.decide(locked.item)
            except HotshelfError as error:
                return await _refused(connection, request, error, ttl_s)
            pending = Pending(request, locked.item, change, locked.epoch, locked.transaction)
            return await _changed(connection, pending, ttl_s)
    except ShardUnavailable as lost:
        if pending is None or not request.commit_sent:
            raise
        return await after_loss(shard, pending, lost)


async def _lock(connection: Connection, request: ItemRequest, ttl_s: float, waits: bool) -> _Locked:
    claim = request.claim
    lock = statements.LOCK_ITEM if claim is None else statements.LOCK_ITEM_IF_FREE
    if not waits:
        lock = statements.NOWAIT[lock]
    try:
        if claim is None:
            _, rows, [found] = await round_trip(
                connection,
                ("BEGIN", ()),
                (lock, (request.uuid,)),
                (statements.TRANSACTION, (Int4(request.bucket),)),
            )
            transaction = Transaction(found[2], found[3], found[1])
            return _Locked(item_of(rows[0]) if rows else None, True, found[0], transaction, None)
        _, [(is_free,)], rows, [found] = await round_trip(
            connection,
            ("BEGIN", ()),
            (statements.TRY_LOCK, (Int8(claim.lock),)),
            (lock, (request.uuid, Int8(claim.lock))),
            (statements.READ_RECORD, (*record_columns(claim)[:4], float(ttl_s))),
        )
    except psycopg.errors.LockNotAvailable:
        if waits:
            raise
        raise RowLocked from None
    record = found[2:] if found[2] is not None else None
    return _Locked(item_of(rows[0]) if rows else None, is_free, found[0], None, record)


async def _replayed(
    connection: Connection, request: ItemRequest, record: Row, epoch: int | None
) -> Outcome:
    fingerprint, outcome, item_id, owner_id, version, created_at, recorded_at = record[:7]
    data_hash, result, problem = record[7:]
    claim = request.claim
    assert claim is not None
    if fingerprint != claim.fingerprint:
        raise key_reused()
    if problem is not None:
        await round_trip(connection, ("ROLLBACK", ()))
        error = problem_again(outcome, orjson.loads(problem))
        return Outcome("changed", None, error, fingerprint, replayed=True)
    if data_hash is None or result is not None:
        await round_trip(connection, ("ROLLBACK", ()))
    else:
        again = (statements.AS_STORED, (request.data.decode(),))
        [(result, its_hash)], _ = await round_trip(connection, again, ("ROLLBACK", ()))
        if its_hash != data_hash:
            raise not_rebuilt()
    item = None
    if result is not None:
        owner = owner_id or claim.caller
        item = Item(item_id.bytes, owner, version, created_at, recorded_at, result.encode())
    # Whoever made it may have died before caches were told.
    told = None if epoch is None else Committed(request.item_id, epoch, version)
    return Outcome(outcome, item, None, fingerprint, replayed=True, told=told)


async def _refused(
    connection: Connection, request: ItemRequest, error: HotshelfError, ttl_s: float
) -> Outcome:
    claim = request.claim
    if claim is None or not is_kept(error):
        raise error
    await commit(connection, [request], record_of(claim, error, ttl_s))
    return refusal(claim, error)


async def _changed(connection: Connection, pending: Pending, ttl_s: float) -> Outcome:
    request, change, epoch = pending.request, pending.change, pending.epoch
    [rows] = await commit(connection, [request], statement_of(request, change, epoch, ttl_s))
    return outcome_of(request, change, rows[0] if rows else None, epoch)
