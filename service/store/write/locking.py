"""The first round trip of a change: BEGIN, rows under lock, live idempotency records.

The results are named rows, one ``Found`` per request, in the requests' order.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.numeric import Int4, Int8

from service.model.change import Claim
from service.model.item import Item
from service.store import arrays
from service.store.arrays import Array
from service.store.connection import Connection, Row
from service.store.item_rows import item_of
from service.store.round_trip import Step, round_trip
from service.store.write import statements
from service.store.write.commit import Transaction, checking, refusals
from service.store.write.request import ItemRequest, LeftOut

_NO_CLAIM = Claim(0, "", b"", "", b"")


class Record(NamedTuple):
    """A live idempotency record, in the order of READ_RECORD's columns.

    ``outcome`` is a Kind, or the code of the error whose variable part is ``problem`` (JSON).
    ``owner_id`` None is the caller. ``data_hash`` is that of the item's text; ``result`` is the
    text if it cannot be rebuilt.
    """

    fingerprint: bytes
    outcome: str
    item_id: UUID
    owner_id: str | None
    version: int
    item_created_at: datetime
    recorded_at: datetime
    data_hash: int | None
    result: str | None
    problem: str | None


class Found(NamedTuple):
    """A request's locked row. ``epoch`` is its bucket's, None if this shard does not own it.

    ``free`` is false while another request holds the key's lock; then there is no ``item``.
    """

    item: Item | None
    free: bool
    epoch: int | None
    record: Record | None = None


class Locked(NamedTuple):
    """``found`` is None for requests that have to run alone.

    ``transaction`` is None if every request has a key, because its record shows the outcome.
    """

    found: list[Found | None]
    transaction: Transaction | None


async def lock_each(
    connection: Connection, requests: Sequence[ItemRequest], ttl_s: float, *, waits: bool = True
) -> Locked:
    """Lock rows one by one, waiting for locked ones; raises LeftOut if it must not wait.

    In order of their ids, because otherwise two transactions could deadlock.
    """
    in_order = sorted(requests, key=lambda request: request.item_id)
    before: list[Step] = [("BEGIN", ()), *checking(requests)]
    steps = [step for request in in_order for step in _locking(request, ttl_s, waits)]
    try:
        with refusals():
            answers = (await round_trip(connection, *before, *steps))[len(before) :]
    except psycopg.errors.LockNotAvailable:
        if waits:
            raise
        raise LeftOut from None
    rows = iter(answers)
    transaction = None
    found: dict[bytes, Found | None] = {}
    for request in in_order:
        if request.claim is None:
            found[request.item_id], transaction = _without_key(rows)
        else:
            found[request.item_id] = _with_key(rows)
    return Locked([found[request.item_id] for request in requests], transaction)


async def lock_free(
    connection: Connection, requests: Sequence[ItemRequest], ttl_s: float
) -> Locked:
    """Lock unlocked rows of requests without a live record.

    The result has only rows that one statement can change: living items of buckets owned here.
    """
    ids = arrays.uuids(request.item_id for request in requests)
    locks = arrays.bigints((request.claim or _NO_CLAIM).lock for request in requests)
    *others, keys = record_keys(requests)
    with refusals():
        *_, rows, unrecorded, [(_, *transaction)] = await round_trip(
            connection,
            ("BEGIN", ()),
            *checking(requests),
            (statements.LOCK_FREE_ITEMS, (ids, keys, locks)),
            (statements.UNRECORDED, (ids, *others, keys, float(ttl_s))),
            (statements.TRANSACTION, (Int4(requests[0].bucket),)),
        )
    epochs = {item_id.bytes: epoch for item_id, epoch in unrecorded if epoch is not None}
    found = {
        item.id: Found(item, True, epochs[item.id])
        for item in map(item_of, rows)
        if item.id in epochs and not item.deleted
    }
    return Locked([found.get(r.item_id) for r in requests], Transaction(*transaction))


def record_keys(requests: Sequence[ItemRequest]) -> tuple[Array, ...]:
    """Arrays of bucket, caller, scope and key of the requests' records; key "" without one."""
    claims = [request.claim or _NO_CLAIM for request in requests]
    return (
        arrays.integers(request.bucket for request in requests),
        arrays.texts(claim.caller.encode() for claim in claims),
        arrays.byteas(claim.scope for claim in claims),
        arrays.texts(claim.key.encode() for claim in claims),
    )


def fingerprints(requests: Sequence[ItemRequest]) -> Array:
    """The array that goes with ``record_keys``."""
    return arrays.byteas((request.claim or _NO_CLAIM).fingerprint for request in requests)


def _locking(request: ItemRequest, ttl_s: float, waits: bool) -> list[Step]:
    claim = request.claim
    lock = statements.LOCK_ITEM if claim is None else statements.LOCK_ITEM_IF_FREE
    if not waits:
        lock = statements.NOWAIT[lock]
    if claim is None:
        return [
            (lock, (request.uuid,)),
            (statements.TRANSACTION, (Int4(request.bucket),)),
        ]
    record = (Int4(claim.bucket), claim.caller, claim.scope, claim.key, float(ttl_s))
    return [
        (statements.TRY_LOCK, (Int8(claim.lock),)),
        (lock, (request.uuid, Int8(claim.lock))),
        (statements.READ_RECORD, record),
    ]


def _without_key(rows: Iterator[list[Row]]) -> tuple[Found, Transaction]:
    items, [(epoch, *transaction)] = next(rows), next(rows)
    return Found(_item(items), True, epoch), Transaction(*transaction)


def _with_key(rows: Iterator[list[Row]]) -> Found:
    [(free,)], items, [(epoch, *columns)] = next(rows), next(rows), next(rows)
    record = None if columns[0] is None else Record(*columns)
    return Found(_item(items), free, epoch, record)


def _item(rows: list[Row]) -> Item | None:
    return item_of(rows[0]) if rows else None
