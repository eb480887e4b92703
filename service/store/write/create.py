"""New items, however many, by one statement: its record and itself for each, or its replay."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg

from service.model.change import Claim, Outcome, in_progress, key_reused, not_rebuilt
from service.model.errors import HotshelfError, InvalidContent
from service.model.item import Item
from service.store import arrays, statements
from service.store.arrays import Array
from service.store.nodes import Connection
from service.store.round_trip import round_trip
from service.store.shards import BucketMoved, Shard
from service.store.write.commit import confirm, refusals


class NewItem(NamedTuple):
    """An item to create under an id minted for it; its owner is the claim's caller."""

    claim: Claim
    item_id: bytes
    data: bytes


async def create_items(
    shard: Shard, new: Sequence[NewItem], ttl_s: float
) -> list[Outcome | Exception]:
    """What came of each, in order: made now, made before under its key, or why not.

    RequestInProgress where a twin runs at this moment. If the database refuses the batch for
    the sake of one item, each goes alone. Raises ShardUnavailable, Overloaded, DatabaseTimeout
    and BucketMoved.
    """
    try:
        return await _create_items(shard, new, ttl_s)
    except (InvalidContent, BucketMoved) as error:
        if len(new) == 1:
            return [error]
    results: list[Outcome | Exception] = []
    for one in new:
        try:
            results += await create_items(shard, [one], ttl_s)
        except (HotshelfError, psycopg.Error) as error:
            results.append(error)
    return results


async def _create_items(
    shard: Shard, new: Sequence[NewItem], ttl_s: float
) -> list[Outcome | Exception]:
    locks = arrays.bigints(n.claim.lock for n in new)
    async with shard.primary() as connection:
        parameters = (locks, *_columns(new), float(ttl_s))
        with refusals():
            [rows] = await round_trip(connection, (statements.CREATE_ITEMS, parameters))
        made = {row[0]: row[1:] for row in rows}
        await confirm(connection)
        before = [n for n in new if made[n.item_id][0] and not made[n.item_id][1]]
        known = await _created_before(connection, before) if before else {}
    return [known.get(n.item_id) or _created(n, *made[n.item_id][1:]) for n in new]


def _columns(new: Sequence[NewItem]) -> tuple[Array, ...]:
    """Bucket, caller, key, fingerprint, id and payload of each."""
    claims = [n.claim for n in new]
    return (
        arrays.integers(claim.bucket for claim in claims),
        arrays.texts(claim.caller.encode() for claim in claims),
        arrays.texts(claim.key.encode() for claim in claims),
        arrays.byteas(claim.fingerprint for claim in claims),
        arrays.uuids(n.item_id for n in new),
        arrays.texts(n.data for n in new),
    )


def _created(new: NewItem, made: bool, now: datetime, body: str) -> Outcome | Exception:
    if not made:
        # Not free; or it had a record that is gone by now, and goes from the start as well.
        return in_progress()
    item = Item(new.item_id, new.claim.caller, 1, now, now, body.encode())
    return Outcome("created", item, fingerprint=new.claim.fingerprint)


async def _created_before(
    connection: Connection, new: Sequence[NewItem]
) -> dict[bytes, Outcome | Exception]:
    [rows] = await round_trip(connection, (statements.READ_CREATED, _columns(new)))
    claims = {n.item_id: n.claim for n in new}
    known: dict[bytes, Outcome | Exception] = {}
    for asked, fingerprint, item_id, version, created, recorded, body, same in rows:
        claim = claims[asked.bytes]
        if fingerprint != claim.fingerprint:
            known[asked.bytes] = key_reused()
        elif not same:
            known[asked.bytes] = not_rebuilt()
        else:
            item = Item(item_id.bytes, claim.caller, version, created, recorded, body.encode())
            # Under its own id it was made by this very request, whose answer got lost on its way.
            replayed = item_id != asked
            known[asked.bytes] = Outcome("created", item, None, fingerprint, replayed=replayed)
    return known
