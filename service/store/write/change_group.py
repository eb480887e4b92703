"""Items changed by several requests in one transaction and two round trips, each for itself.

The requests are of one tick and have nothing to do with each other. Rows and keys are locked
only where nobody has them, so that none waits for what another meets; what is not plain (a row
that is not there or not free, a record, a second change of the same item) is left out, and if
the database refuses the whole, nothing is done.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import psycopg
from psycopg.types.numeric import Int4

from service.model.change import Claim, Outcome, is_kept
from service.model.errors import HotshelfError, InvalidContent, ShardUnavailable
from service.model.item import Item
from service.store import arrays, statements
from service.store.arrays import Array
from service.store.item_rows import item_of
from service.store.nodes import Connection
from service.store.round_trip import Step, round_trip
from service.store.shards import BucketMoved, Shard
from service.store.write.change import (
    ItemRequest,
    Pending,
    Write,
    after_loss,
    commit,
    outcome_of,
    record_of,
    refusal,
    rolled_back,
)
from service.store.write.change_one import RowLocked, change_item
from service.store.write.commit import Transaction

_Results: TypeAlias = dict[bytes, Outcome | Exception]

_NO_CLAIM = Claim(0, "", b"", "", b"")


async def change_batch(
    shard: Shard, writes: Sequence[Write], ttl_s: float
) -> list[Outcome | Exception | None]:
    """What came of each, in order; None where nothing was done and it has to go alone.

    Raises ShardUnavailable, Overloaded, DatabaseTimeout and OutcomeUnknown.
    """
    firsts = {write.request.item_id: write for write in reversed(writes)}
    try:
        if len(writes) == 1:
            return [await change_item(shard, writes[0], ttl_s, waits=False)]
        results = await _change(shard, firsts, ttl_s)
    except RowLocked:
        return [None]
    return [
        results.get(write.request.item_id) if firsts[write.request.item_id] is write else None
        for write in writes
    ]


@dataclass(slots=True)
class _Decided:
    """What became of the decisions: changes, errors to be recorded, and others, by item."""

    pending: list[Pending] = field(default_factory=list)
    refused: dict[bytes, tuple[Claim, HotshelfError]] = field(default_factory=dict)
    failed: dict[bytes, Outcome | Exception] = field(default_factory=dict)


async def _change(shard: Shard, writes: Mapping[bytes, Write], ttl_s: float) -> _Results:
    decided = _Decided()
    try:
        async with shard.primary() as connection, rolled_back(connection):
            transaction, locked = await _lock(connection, list(writes.values()), ttl_s)
            for item, epoch in locked:
                _decide(decided, writes[item.id], item, epoch, transaction)
            return await _write(connection, decided, ttl_s)
    except ShardUnavailable as lost:
        if not any(one.request.commit_sent for one in decided.pending):
            raise
        return await _after_loss(shard, decided, lost)
    except (InvalidContent, BucketMoved, psycopg.Error):
        return {}


async def _lock(
    connection: Connection, writes: Sequence[Write], ttl_s: float
) -> tuple[Transaction, list[tuple[Item, int]]]:
    """The rows that can be changed now, each with its bucket's epoch."""
    requests = [write.request for write in writes]
    ids = arrays.uuids(request.item_id for request in requests)
    locks = arrays.bigints((request.claim or _NO_CLAIM).lock for request in requests)
    *others, keys = _places(requests)
    _, rows, unrecorded, [begun] = await round_trip(
        connection,
        ("BEGIN", ()),
        (statements.LOCK_FREE_ITEMS, (ids, keys, locks)),
        (statements.UNRECORDED, (ids, *others, keys, float(ttl_s))),
        (statements.TRANSACTION, (Int4(requests[0].bucket),)),
    )
    epochs = {item_id.bytes: epoch for item_id, epoch in unrecorded if epoch is not None}
    items = [item for item in map(item_of, rows) if item.id in epochs]
    return Transaction(begun[2], begun[3], begun[1]), [(item, epochs[item.id]) for item in items]


def _decide(
    decided: _Decided, write: Write, item: Item, epoch: int, transaction: Transaction
) -> None:
    request = write.request
    try:
        change = write.decide(item)
    except Exception as error:
        if request.claim is not None and isinstance(error, HotshelfError) and is_kept(error):
            decided.refused[item.id] = request.claim, error
        else:
            decided.failed[item.id] = error
        return
    # A tombstone that comes to life again is left to go alone.
    if change.kind != "created":
        found_by = transaction if request.claim is None else None
        decided.pending.append(Pending(request, item, change, epoch, found_by))


async def _write(connection: Connection, decided: _Decided, ttl_s: float) -> _Results:
    pending, refused = decided.pending, decided.refused
    steps = [_changing(pending, ttl_s)] if pending else []
    steps += [record_of(claim, error, ttl_s) for claim, error in refused.values()]
    if not steps:
        await round_trip(connection, ("ROLLBACK", ()))
        return decided.failed
    answers = await commit(connection, [one.request for one in pending], *steps)
    rows = {row[0].bytes: row for row in answers[0]} if pending else {}
    results = decided.failed | {i: refusal(claim, error) for i, (claim, error) in refused.items()}
    for one in pending:
        item_id = one.request.item_id
        results[item_id] = outcome_of(one.request, one.change, rows[item_id], one.epoch)
    return results


def _changing(pending: Sequence[Pending], ttl_s: float) -> Step:
    changes = [one.change for one in pending]
    requests = [one.request for one in pending]
    return statements.CHANGE_ITEMS, (
        arrays.uuids(request.item_id for request in requests),
        arrays.texts(change.data for change in changes),
        arrays.bigints(one.epoch for one in pending),
        arrays.texts(change.kind.encode() for change in changes),
        arrays.booleans(change.keeps_result for change in changes),
        *_places(requests),
        arrays.byteas((request.claim or _NO_CLAIM).fingerprint for request in requests),
        float(ttl_s),
    )


def _places(requests: Sequence[ItemRequest]) -> tuple[Array, ...]:
    """Bucket, caller, scope and key of each request's record; the key is empty without one."""
    claims = [request.claim or _NO_CLAIM for request in requests]
    return (
        arrays.integers(request.bucket for request in requests),
        arrays.texts(claim.caller.encode() for claim in claims),
        arrays.byteas(claim.scope for claim in claims),
        arrays.texts(claim.key.encode() for claim in claims),
    )


async def _after_loss(shard: Shard, decided: _Decided, lost: ShardUnavailable) -> _Results:
    results = decided.failed | dict.fromkeys(decided.refused, lost)
    found = await asyncio.gather(
        *(after_loss(shard, one, lost) for one in decided.pending), return_exceptions=True
    )
    for one, outcome in zip(decided.pending, found, strict=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
            raise outcome
        results[one.request.item_id] = outcome
    return results
