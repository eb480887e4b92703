"""One item changed in two round trips, its row locked while the caller decides.

The first brings BEGIN, the row under lock and the record of the request's key; the second the
change with its record, and COMMIT. What lies between is one decision without any waiting.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import orjson
import psycopg
from psycopg.types.json import Json
from psycopg.types.numeric import Int4, Int8

from service.model.errors import HotshelfError, Overloaded, ShardUnavailable
from service.model.item import Item
from service.store import statements
from service.store.commit import Transaction, committed, confirm, refusals
from service.store.idempotency import (
    Claim,
    Committed,
    Kind,
    Outcome,
    in_progress,
    is_kept,
    key_reused,
    not_rebuilt,
    problem_again,
    problem_of,
)
from service.store.nodes import Connection, Row, is_lost
from service.store.reads import item_of
from service.store.round_trip import round_trip
from service.store.shards import BucketMoved, Shard

_STATEMENTS: dict[Kind, str] = {
    "created": statements.CREATE_ITEM,
    "changed": statements.REPLACE_DATA,
    "deleted": statements.DELETE_ITEM,
}
_ALONE = {kind: statements.announced(change) for kind, change in _STATEMENTS.items()}
_WITH_RECORD = {kind: statements.recorded(change) for kind, change in _STATEMENTS.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """What is decided. ``owner_id`` counts for a creation; ``keeps_result`` for its record:
    that the data cannot be made again from the request.
    """

    kind: Kind
    data: bytes = b""
    owner_id: str = ""
    keeps_result: bool = False


Decide: TypeAlias = Callable[[Item | None], Change]


@dataclass(slots=True)
class ItemRequest:
    """A request to change one item. ``data`` is the payload from which a replay is rebuilt.

    ``commit_sent`` is true from then on until it is known what became of it.
    """

    item_id: bytes
    bucket: int
    claim: Claim | None
    data: bytes = b""
    commit_sent: bool = False

    @property
    def uuid(self) -> UUID:
        return UUID(bytes=self.item_id)


@dataclass(frozen=True, slots=True)
class _Locked:
    """The row and what was found beside it."""

    item: Item | None
    free: bool
    epoch: int | None
    transaction: Transaction | None
    record: Row | None


async def change_item(shard: Shard, request: ItemRequest, decide: Decide, ttl_s: float) -> Outcome:
    """Do what ``decide`` makes of the item as it is, a tombstone too, or replay the record.

    An error that ``decide`` raises is raised, or is the outcome if it is one to be recorded.
    Raises RequestInProgress, IdempotencyKeyReused, InvalidContent, BucketMoved, OutcomeUnknown,
    ShardUnavailable, Overloaded and DatabaseTimeout.
    """
    transaction: Transaction | None = None
    change: Change | None = None
    before: Item | None = None
    epoch = 0
    try:
        async with shard.primary() as connection, rolled_back(connection):
            locked = await _lock(connection, request, ttl_s)
            if locked.record is not None:
                return await _replayed(connection, request, locked.record, locked.epoch)
            if not locked.free:
                raise in_progress()
            if locked.epoch is None:
                raise BucketMoved
            transaction, before, epoch = locked.transaction, locked.item, locked.epoch
            try:
                change = decide(before)
            except HotshelfError as error:
                return await _refused(connection, request, error, ttl_s)
            return await _changed(connection, request, change, locked.epoch, ttl_s)
    except ShardUnavailable as lost:
        if not request.commit_sent or transaction is None or change is None:
            raise
        if await committed(shard, transaction):
            return await _as_committed(shard, request, transaction, before, change, epoch)
        request.commit_sent = False
        raise lost


def statement_of(
    request: ItemRequest, change: Change, epoch: int, ttl_s: float
) -> tuple[str, tuple[Any, ...]]:
    """What writes the change, its outbox row and its record."""
    parameters: tuple[Any, ...] = {
        "created": (request.uuid, change.owner_id, change.data.decode()),
        "changed": (change.data.decode(), request.uuid),
        "deleted": (request.uuid,),
    }[change.kind]
    claim = request.claim
    if claim is None:
        return _ALONE[change.kind], (*parameters, Int8(epoch))
    kept = (change.kind, claim.caller, change.keeps_result, float(ttl_s))
    return _WITH_RECORD[change.kind], (*parameters, Int8(epoch), *claim.columns, *kept)


def outcome_of(request: ItemRequest, change: Change, row: Row | None, epoch: int) -> Outcome:
    """What was written. Raises Overloaded where no row was: somebody else created it."""
    if row is None:
        # There was no row to lock when we looked.
        taken = "Too many writers want this id at once."
        raise Overloaded(taken, retry_after_s=1, run_again=True)
    item = item_of(row)
    told = Committed(item.id, epoch, item.version)
    shown = None if item.deleted else item
    fingerprint = None if request.claim is None else request.claim.fingerprint
    return Outcome(change.kind, shown, fingerprint=fingerprint, told=told)


async def _lock(connection: Connection, request: ItemRequest, ttl_s: float) -> _Locked:
    claim = request.claim
    if claim is None:
        _, rows, [found] = await round_trip(
            connection,
            ("BEGIN", ()),
            (statements.LOCK_ITEM, (request.uuid,)),
            (statements.TRANSACTION, (Int4(request.bucket),)),
        )
        transaction = Transaction(found[2], found[3], found[1])
        return _Locked(item_of(rows[0]) if rows else None, True, found[0], transaction, None)
    _, [(is_free,)], rows, [found] = await round_trip(
        connection,
        ("BEGIN", ()),
        (statements.TRY_LOCK, (claim.lock,)),
        (statements.LOCK_ITEM_IF_FREE, (request.uuid, claim.lock)),
        (statements.READ_RECORD, (*claim.columns[:4], float(ttl_s))),
    )
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
    record = (*claim.columns, error.code, Json(problem_of(error)), float(ttl_s))
    await _commit(connection, request, statements.RECORD_PROBLEM, record)
    error.recorded = True
    return Outcome("changed", None, error, claim.fingerprint)


async def _changed(
    connection: Connection, request: ItemRequest, change: Change, epoch: int, ttl_s: float
) -> Outcome:
    statement, parameters = statement_of(request, change, epoch, ttl_s)
    row = await _commit(connection, request, statement, parameters)
    return outcome_of(request, change, row, epoch)


async def _commit(
    connection: Connection, request: ItemRequest, statement: str, parameters: tuple[Any, ...]
) -> Row | None:
    request.commit_sent = True
    try:
        with refusals():
            rows, _ = await round_trip(connection, (statement, parameters), ("COMMIT", ()))
    except psycopg.Error as error:
        request.commit_sent = is_lost(error)
        raise
    except Exception:
        request.commit_sent = False
        raise
    await confirm(connection)
    request.commit_sent = False
    return rows[0] if rows else None


async def _as_committed(
    shard: Shard,
    request: ItemRequest,
    done: Transaction,
    before: Item | None,
    change: Change,
    epoch: int,
) -> Outcome:
    """What the lost answer said, without looking at the row, which may be another by now."""
    request.commit_sent = False
    version = 1 if before is None else before.version + 1
    told = Committed(request.item_id, epoch, version)
    if change.kind == "deleted":
        return Outcome("deleted", told=told)
    async with shard.primary() as connection:
        [[row]] = await round_trip(connection, (statements.AS_STORED, (change.data.decode(),)))
    created_at, owner_id = done.now, change.owner_id
    if before is not None and change.kind == "changed":
        created_at, owner_id = before.created_at, before.owner_id
    item = Item(request.item_id, owner_id, version, created_at, done.now, row[0].encode())
    return Outcome(change.kind, item, told=told)


@asynccontextmanager
async def rolled_back(connection: Connection) -> AsyncIterator[None]:
    try:
        yield
    except Exception:
        if not connection.closed and not connection.idle:
            await round_trip(connection, ("ROLLBACK", ()))
        raise
