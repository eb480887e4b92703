"""The decision about each request, and its statements for the second round trip."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson
from psycopg.types.json import Json
from psycopg.types.numeric import Int2, Int4, Int8

from service.model.change import (
    Change,
    Claim,
    Committed,
    Kind,
    Outcome,
    is_recorded,
    key_reused,
    not_rebuilt,
    problem_again,
    problem_of,
)
from service.model.errors import HotshelfError, Overloaded, RequestInProgress
from service.model.item import Item
from service.store import arrays
from service.store.connection import Row
from service.store.item_rows import item_of
from service.store.round_trip import Step
from service.store.shards import BucketMoved
from service.store.write import statements
from service.store.write.locking import Found, Record, fingerprints, record_keys
from service.store.write.request import ItemRequest, LargePatch, LeftOut, Result, Write

# The size up to which a patch and its item are processed on the event loop, and that of all patches
# of a transaction. 64 KiB of JSON Patch take up to 50 ms.
LARGE_PATCH_BYTES = 64 << 10
_TURN_BYTES = 256 << 10


class Pending(NamedTuple):
    """A change to be written; ``before`` is the present row."""

    request: ItemRequest
    before: Item | None
    change: Change
    epoch: int

    def outcome(self, item: Item) -> Outcome:
        """The outcome once ``item`` is committed."""
        claim = self.request.claim
        return Outcome(
            self.change.kind,
            None if item.deleted else item,
            fingerprint=None if claim is None else claim.fingerprint,
            invalidation=Committed(item.id, self.epoch, item.version),
        )


class Refused(NamedTuple):
    """An error to be recorded, because it depends on the item's state."""

    request: ItemRequest
    claim: Claim
    error: HotshelfError


class Replay(NamedTuple):
    """The record of the same request."""

    request: ItemRequest
    claim: Claim
    record: Record
    epoch: int | None

    @property
    def needs_payload(self) -> bool:
        """Whether the item's text has to be rebuilt from the request."""
        return self.record.data_hash is not None and self.record.result is None


Decided: TypeAlias = Pending | Refused | Replay | Exception


def decide_all(writes: Sequence[Write], found: Sequence[Found | None]) -> list[Decided]:
    """The decisions of a transaction, on the event loop; large patches become LargePatch."""
    decided: list[Decided] = []
    room = _TURN_BYTES
    for write, one in zip(writes, found, strict=True):
        decided.append(decide(write, one, min(room, LARGE_PATCH_BYTES)))
        if not isinstance(decided[-1], LargePatch):
            room -= _patching_bytes(write, one)
    return decided


def decide(write: Write, found: Found | None, patching_max_bytes: float) -> Decided:
    """Replay the record, or decide on the item's present state.

    LargePatch if a patch and its item together exceed ``patching_max_bytes``.
    """
    request, claim = write.request, write.request.claim
    if found is None:
        return LeftOut()
    if claim is not None and found.record is not None:
        if found.record.fingerprint != claim.fingerprint:
            return key_reused()
        return Replay(request, claim, found.record, found.epoch)
    if not found.free:
        return RequestInProgress()
    if found.epoch is None:
        return BucketMoved()
    if _patching_bytes(write, found) > patching_max_bytes:
        return LargePatch()
    try:
        change = write.decided(found.item)
    except Exception as error:
        if claim is not None and isinstance(error, HotshelfError) and is_recorded(error):
            return Refused(request, claim, error)
        return error
    return Pending(request, found.item, change, found.epoch)


def without_creations(decided: Sequence[Decided]) -> list[Decided]:
    """Creations left out: of items that have expired, whose rows a group would only change."""
    return [
        LeftOut() if isinstance(one, Pending) and one.change.kind == "created" else one
        for one in decided
    ]


def _patching_bytes(write: Write, found: Found | None) -> int:
    """The size of a patch and its item; 0 if it is not a patch."""
    patch_bytes = write.request.patch_bytes
    if not patch_bytes or found is None or found.item is None:
        return 0
    return patch_bytes + len(found.item.data or b"")


def writing_each(pending: Sequence[Pending], ttl_s: float) -> list[Step]:
    """One statement per change, with its outbox row and record."""
    return [_writing(one, ttl_s) for one in pending]


def writing_group(pending: Sequence[Pending], ttl_s: float) -> list[Step]:
    """One statement for all changes and deletions of living items."""
    if not pending:
        return []
    changes = [one.change for one in pending]
    requests = [one.request for one in pending]
    values = (
        arrays.uuids(request.item_id for request in requests),
        arrays.texts(change.data for change in changes),
        arrays.bigints(one.epoch for one in pending),
        arrays.texts(change.kind.encode() for change in changes),
        arrays.booleans(change.keeps_result for change in changes),
        *record_keys(requests),
        fingerprints(requests),
        float(ttl_s),
    )
    return [(statements.CHANGE_ITEMS, values)]


def recording(refused: Refused, ttl_s: float) -> Step:
    """The statement that records an error."""
    error = refused.error
    values = (*_record(refused.claim), error.code, Json(problem_of(error)), float(ttl_s))
    return statements.RECORD_PROBLEM, values


def rebuilding(data: bytes) -> Step:
    """The query for the text that a payload is stored as, and its hash."""
    return statements.AS_STORED, (data.decode(),)


def written(pending: Pending, row: Row | None) -> Outcome:
    """The outcome of a change, from its written row. Raises Overloaded if it wrote none.

    Then there was no row to lock, and another transaction has created it meanwhile.
    """
    if row is None:
        raise Overloaded("Too many writers want this id at once.", run_again=True)
    return pending.outcome(item_of(row))


def refused(one: Refused) -> Outcome:
    """The outcome once the error is recorded."""
    one.error.recorded = True
    return Outcome("changed", None, one.error, one.claim.fingerprint)


def replayed(one: Replay, rebuilt: Row | None) -> Result:
    """The recorded outcome; ``rebuilt`` is the result of ``rebuilding``, if needed."""
    record = one.record
    if record.problem is not None:
        error = problem_again(record.outcome, orjson.loads(record.problem))
        return Outcome("changed", None, error, record.fingerprint, replayed=True)
    text = record.result
    if rebuilt is not None:
        text, its_hash = rebuilt
        if its_hash != record.data_hash:
            return not_rebuilt()
    item = None
    if text is not None:
        owner = record.owner_id or one.claim.caller
        times = (record.item_created_at, record.recorded_at)
        stored = (*times, text.encode(), one.request.collection)
        item = Item(record.item_id.bytes, owner, record.version, *stored)
    # Announced again, because the first writer may have died between COMMIT and invalidation.
    invalidation = None
    if one.epoch is not None:
        invalidation = Committed(one.request.item_id, one.epoch, record.version)
    kind: Kind = record.outcome  # type: ignore[assignment]  # the column has no other values
    return Outcome(kind, item, None, record.fingerprint, True, invalidation)


def _writing(pending: Pending, ttl_s: float) -> Step:
    request, change, before = pending.request, pending.change, pending.before
    # A living item that is created is one that has expired.
    expired = 0 if before is None or before.deleted else before.version
    of_creation = (Int2(request.collection), Int8(expired))
    parameters: tuple[Any, ...] = {
        "created": (request.uuid, change.owner_id, change.data.decode(), *of_creation),
        "changed": (change.data.decode(), request.uuid),
        "deleted": (request.uuid,),
    }[change.kind]
    parameters = (*parameters, Int8(pending.epoch))
    claim = request.claim
    if claim is None:
        return statements.ANNOUNCED[change.kind], parameters
    kept = (change.kind, claim.caller, change.keeps_result, float(ttl_s))
    return statements.RECORDED[change.kind], (*parameters, *_record(claim), *kept)


def _record(claim: Claim) -> tuple[object, ...]:
    """Bucket, caller, scope, key and fingerprint of a record."""
    return Int4(claim.bucket), claim.caller, claim.scope, claim.key, claim.fingerprint
