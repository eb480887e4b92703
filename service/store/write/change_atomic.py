"""Several items of one shard changed in one transaction, in three round trips or not at all.

The first brings BEGIN, every row under lock and every record; the second makes all changes; the
third is COMMIT, sent once it is known that each change found its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.types.numeric import Int4, Int8

from service.model.change import Change, Outcome, in_progress, key_reused
from service.model.errors import BatchFailed, HotshelfError, Place, ShardUnavailable
from service.model.item import Item
from service.store import statements
from service.store.item_rows import item_of
from service.store.nodes import Connection, Row
from service.store.round_trip import Step, round_trip
from service.store.shards import BucketMoved, Shard
from service.store.write.change import (
    ItemRequest,
    Write,
    outcome_of,
    record_columns,
    rolled_back,
    statement_of,
)
from service.store.write.change_one import change_item
from service.store.write.commit import Transaction, committed, confirm, refusals


@dataclass(frozen=True, slots=True)
class _Locked:
    item: Item | None
    epoch: int
    record: Row | None


async def change_items(shard: Shard, writes: Sequence[Write], ttl_s: float) -> list[Outcome]:
    """What came of each, in order; all are done or none.

    If every one has a record already, all are replayed. Raises BatchFailed, which names those
    that cannot be done, RequestInProgress, InvalidContent, BucketMoved, OutcomeUnknown,
    ShardUnavailable, Overloaded and DatabaseTimeout.
    """
    outcomes: list[Outcome] = []
    transaction: Transaction | None = None
    commit_sent = False
    try:
        async with shard.primary() as connection, rolled_back(connection):
            transaction, locked = await _lock(connection, writes, ttl_s)
            if not all(one.record is not None for one in locked):
                changes = _decided(writes, locked)
                outcomes = await _write(connection, writes, locked, changes, ttl_s)
                commit_sent = True
                await round_trip(connection, ("COMMIT", ()))
                await confirm(connection)
                return outcomes
            await round_trip(connection, ("ROLLBACK", ()))
    except ShardUnavailable:
        if commit_sent and transaction is not None and await committed(shard, transaction):
            return outcomes
        raise
    return [await change_item(shard, write, ttl_s) for write in writes]


async def _lock(
    connection: Connection, writes: Sequence[Write], ttl_s: float
) -> tuple[Transaction, list[_Locked]]:
    """Rows are locked in the order of their ids, so that no two batches wait for each other."""
    in_order = sorted(writes, key=lambda write: write.request.item_id)
    steps: list[Step] = [
        ("BEGIN", ()),
        (statements.TRANSACTION, (Int4(writes[0].request.bucket),)),
    ]
    for write in in_order:
        steps += _locking(write.request, ttl_s)
    _, [begun], *answers = await round_trip(connection, *steps)
    found: dict[bytes, _Locked] = {}
    rows = iter(answers)
    for write in in_order:
        request = write.request
        if request.claim is not None and not next(rows)[0][0]:
            raise in_progress()
        item, [record] = next(rows), next(rows)
        if record[0] is None:
            raise BucketMoved
        known = record[2:] if request.claim is not None and record[2] is not None else None
        found[request.item_id] = _Locked(item_of(item[0]) if item else None, record[0], known)
    return Transaction(begun[2], begun[3], begun[1]), [found[w.request.item_id] for w in writes]


def _locking(request: ItemRequest, ttl_s: float) -> list[Step]:
    claim = request.claim
    if claim is None:
        return [
            (statements.LOCK_ITEM, (request.uuid,)),
            (statements.TRANSACTION, (Int4(request.bucket),)),
        ]
    return [
        (statements.TRY_LOCK, (Int8(claim.lock),)),
        (statements.LOCK_ITEM_IF_FREE, (request.uuid, Int8(claim.lock))),
        (statements.READ_RECORD, (*record_columns(claim)[:4], float(ttl_s))),
    ]


def _decided(writes: Sequence[Write], locked: Sequence[_Locked]) -> list[Change]:
    changes: list[Change] = []
    refused: list[tuple[int, HotshelfError]] = []
    for index, (write, found) in enumerate(zip(writes, locked, strict=True)):
        try:
            if found.record is not None:
                raise key_reused()
            changes.append(write.decide(found.item))
        except HotshelfError as error:
            refused.append((index, error))
    if refused:
        raise BatchFailed(
            "An operation cannot be done, so none was.",
            *(
                Place(f"failed with {error.code}: {error.detail}", pointer=f"/operations/{index}")
                for index, error in refused
            ),
        )
    return changes


async def _write(
    connection: Connection,
    writes: Sequence[Write],
    locked: Sequence[_Locked],
    changes: Sequence[Change],
    ttl_s: float,
) -> list[Outcome]:
    steps = [
        statement_of(write.request, change, found.epoch, ttl_s)
        for write, found, change in zip(writes, locked, changes, strict=True)
    ]
    with refusals():
        answers = await round_trip(connection, *steps)
    return [
        outcome_of(write.request, change, rows[0] if rows else None, found.epoch)
        for write, found, change, rows in zip(writes, locked, changes, answers, strict=True)
    ]
