"""What a change of an item is, how it is written, and how it ended."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.json import Json
from psycopg.types.numeric import Int4, Int8

from service.model.change import Change, Claim, Committed, Decide, Kind, Outcome, problem_of
from service.model.errors import HotshelfError, Overloaded, ShardUnavailable
from service.model.item import Item
from service.store import statements
from service.store.item_rows import item_of
from service.store.nodes import Connection, Row, is_lost
from service.store.round_trip import Step, round_trip
from service.store.shards import Shard
from service.store.write.commit import Transaction, committed, confirm, refusals

_STATEMENTS: dict[Kind, str] = {
    "created": statements.CREATE_ITEM,
    "changed": statements.REPLACE_DATA,
    "deleted": statements.DELETE_ITEM,
}
_ALONE = {kind: statements.announced(change) for kind, change in _STATEMENTS.items()}
_WITH_RECORD = {kind: statements.recorded(change) for kind, change in _STATEMENTS.items()}


@dataclass(slots=True)
class ItemRequest:
    """A request to change one item. ``data`` is the payload from which a replay is rebuilt.

    ``commit_sent`` is true from then on until it is known what became of it; ``given_up`` once
    the request was answered for lack of time.
    """

    item_id: bytes
    bucket: int
    claim: Claim | None
    data: bytes = b""
    commit_sent: bool = False
    given_up: bool = False

    @property
    def uuid(self) -> UUID:
        return UUID(bytes=self.item_id)


class Write(NamedTuple):
    """A request and what decides, once the row is locked."""

    request: ItemRequest
    decide: Decide


class Pending(NamedTuple):
    """A decided change of the row that was ``before``; ``transaction`` None where a key tells."""

    request: ItemRequest
    before: Item | None
    change: Change
    epoch: int
    transaction: Transaction | None


async def after_loss(shard: Shard, pending: Pending, lost: ShardUnavailable) -> Outcome:
    """The outcome of a change whose COMMIT got no answer. Raises ``lost`` where it may run again.

    With a key that is safe in any case. Raises OutcomeUnknown where no server can tell.
    """
    if pending.transaction is None:
        raise lost
    done = await committed(shard, pending.transaction)
    pending.request.commit_sent = False
    if not done:
        raise lost
    return await _as_committed(shard, pending, pending.transaction.now)


def record_columns(claim: Claim) -> tuple[object, ...]:
    """The first columns of the claim's record, as statements take them: bucket to fingerprint."""
    return Int4(claim.bucket), claim.caller, claim.scope, claim.key, claim.fingerprint


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
    return _WITH_RECORD[change.kind], (*parameters, Int8(epoch), *record_columns(claim), *kept)


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


def record_of(claim: Claim, error: HotshelfError, ttl_s: float) -> Step:
    """What records that the item's state refused the request."""
    problem = Json(problem_of(error))
    return statements.RECORD_PROBLEM, (*record_columns(claim), error.code, problem, float(ttl_s))


def refusal(claim: Claim, error: HotshelfError) -> Outcome:
    """The outcome once that is recorded."""
    error.recorded = True
    return Outcome("changed", None, error, claim.fingerprint)


async def commit(
    connection: Connection, requests: Sequence[ItemRequest], *steps: Step
) -> list[list[Row]]:
    """Run the steps and COMMIT in one round trip; the rows of each step."""
    _mark(requests, True)
    try:
        with refusals():
            *answers, _ = await round_trip(connection, *steps, ("COMMIT", ()))
    except psycopg.Error as error:
        _mark(requests, is_lost(error))
        raise
    except Exception:
        _mark(requests, False)
        raise
    await confirm(connection)
    _mark(requests, False)
    return answers


def _mark(requests: Sequence[ItemRequest], commit_sent: bool) -> None:
    for request in requests:
        request.commit_sent = commit_sent


async def _as_committed(shard: Shard, pending: Pending, now: datetime) -> Outcome:
    """What the lost answer said, without looking at the row, which may be another by now."""
    before, change = pending.before, pending.change
    version = 1 if before is None else before.version + 1
    told = Committed(pending.request.item_id, pending.epoch, version)
    if change.kind == "deleted":
        return Outcome("deleted", told=told)
    async with shard.primary() as connection:
        [[row]] = await round_trip(connection, (statements.AS_STORED, (change.data.decode(),)))
    created_at, owner_id = now, change.owner_id
    if before is not None and change.kind == "changed":
        created_at, owner_id = before.created_at, before.owner_id
    item = Item(told.item_id, owner_id, version, created_at, now, row[0].encode())
    return Outcome(change.kind, item, told=told)


@asynccontextmanager
async def rolled_back(connection: Connection) -> AsyncIterator[None]:
    try:
        yield
    except Exception:
        if not connection.closed and not connection.idle:
            await round_trip(connection, ("ROLLBACK", ()))
        raise
