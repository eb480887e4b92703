"""POST: creates any number of items in one statement, or replays earlier requests."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg

from service.model.change import Claim, Outcome, key_reused, not_rebuilt
from service.model.errors import (
    DefinitionChanged,
    HotshelfError,
    InvalidContent,
    RequestInProgress,
)
from service.model.item import Item
from service.store import arrays
from service.store.arrays import Array
from service.store.connection import Connection
from service.store.round_trip import round_trip
from service.store.shards import BucketMoved, Shard
from service.store.write import statements
from service.store.write.commit import checking, confirm, limiting, refusals
from service.store.write.request import ItemRequest, Result


class _Made(NamedTuple):
    """A row of CREATE_ITEMS."""

    item_id: bytes
    free: bool
    is_made: bool
    now: datetime
    body: str


class _Known(NamedTuple):
    """A row of READ_CREATED: the record of the request that minted ``minted``.

    ``is_same``: the payload still makes the text whose hash was recorded; ``body`` is None for
    another fingerprint.
    """

    minted: UUID
    fingerprint: bytes
    item_id: UUID
    version: int
    created_at: datetime
    recorded_at: datetime
    body: str | None
    is_same: bool | None


async def create_items(
    shard: Shard, requests: Sequence[ItemRequest], ttl_s: float, statement_s: float | None = None
) -> list[Result]:
    """Create an item for each request, or replay its record. All have a key and a minted id.

    The results are in order: an outcome, RequestInProgress while another request holds the key,
    IdempotencyKeyReused, InvalidContent, DefinitionChanged. If the database refuses the group
    because of one item, each is created alone. Raises ShardUnavailable, Overloaded, BucketMoved and
    DatabaseTimeout, after ``statement_s`` or the server's own timeout.
    """
    try:
        return await _create_items(shard, requests, ttl_s, statement_s)
    except (InvalidContent, BucketMoved, DefinitionChanged) as error:
        if len(requests) == 1:
            return [error]
    results: list[Result] = []
    for one in requests:
        try:
            results += await create_items(shard, [one], ttl_s)
        except (HotshelfError, psycopg.Error) as error:
            results.append(error)
    return results


async def _create_items(
    shard: Shard, requests: Sequence[ItemRequest], ttl_s: float, statement_s: float | None
) -> list[Result]:
    claims = [_claim(request) for request in requests]
    locks = arrays.bigints(claim.lock for claim in claims)
    columns = _columns(requests, claims)
    async with shard.primary() as connection:
        collections = arrays.smallints(request.collection for request in requests)
        parameters = (locks, *columns, collections, float(ttl_s))
        with refusals():
            create = (statements.CREATE_ITEMS, parameters)
            before = [*limiting(statement_s), *checking(requests)]
            *_, rows = await round_trip(connection, *before, create)
        await confirm(connection)
        made = {row[0]: _Made(*row) for row in rows}
        older = [r for r in requests if made[r.item_id].free and not made[r.item_id].is_made]
        known = await _replays(connection, older) if older else {}
    return [known.get(r.item_id) or _created(r, made[r.item_id]) for r in requests]


def _claim(request: ItemRequest) -> Claim:
    assert request.claim is not None
    return request.claim


def _columns(requests: Sequence[ItemRequest], claims: Sequence[Claim]) -> tuple[Array, ...]:
    """Arrays of bucket, caller, key, fingerprint, id and payload."""
    return (
        arrays.integers(claim.bucket for claim in claims),
        arrays.texts(claim.caller.encode() for claim in claims),
        arrays.texts(claim.key.encode() for claim in claims),
        arrays.byteas(claim.fingerprint for claim in claims),
        arrays.uuids(request.item_id for request in requests),
        arrays.texts(request.data for request in requests),
    )


def _created(request: ItemRequest, made: _Made) -> Result:
    if not made.is_made:
        # The key is held, or its record has just expired: the caller runs it again.
        return RequestInProgress()
    claim = _claim(request)
    times, body = (made.now, made.now), made.body.encode()
    item = Item(request.item_id, claim.caller, 1, *times, body, request.collection)
    return Outcome("created", item, fingerprint=claim.fingerprint)


async def _replays(connection: Connection, requests: Sequence[ItemRequest]) -> dict[bytes, Result]:
    by_id = {request.item_id: request for request in requests}
    asked = (statements.READ_CREATED, _columns(requests, list(map(_claim, requests))))
    [rows] = await round_trip(connection, asked)
    found = [_Known(*row) for row in rows]
    return {one.minted.bytes: _replayed(by_id[one.minted.bytes], one) for one in found}


def _replayed(request: ItemRequest, known: _Known) -> Result:
    claim = _claim(request)
    if known.fingerprint != claim.fingerprint:
        return key_reused()
    if known.body is None or not known.is_same:
        return not_rebuilt()
    item_id, times = known.item_id.bytes, (known.created_at, known.recorded_at)
    body = known.body.encode()
    item = Item(item_id, claim.caller, known.version, *times, body, request.collection)
    # An item with the id that this request minted is its own, so its first answer was lost.
    is_own = known.item_id == known.minted
    return Outcome("created", item, None, known.fingerprint, replayed=not is_own)
