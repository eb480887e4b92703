"""A change of an item: what is decided, under which idempotency key, and how it ended.

The record of a request with a key is committed together with its change, in the item's shard. It
holds no body: the same payload makes the same jsonb text, and a hash tells whether it still does.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from service import native
from service.model import errors
from service.model.errors import (
    HotshelfError,
    IdempotencyKeyReused,
    InternalError,
    Place,
    RequestInProgress,
)
from service.model.item import Item

Kind: TypeAlias = Literal["created", "changed", "deleted"]

# What the item's state can decide; nothing else is kept.
_KEPT = {
    error.code: error
    for error in (
        errors.ItemNotFound,
        errors.PreconditionFailed,
        errors.PatchTestFailed,
        errors.PatchConflict,
        errors.PatchResultInvalid,
    )
}


class Change(NamedTuple):
    """What is decided. ``owner_id`` counts for a creation; ``keeps_result`` for its record:
    that the data cannot be made again from the request.
    """

    kind: Kind
    data: bytes = b""
    owner_id: str = ""
    keeps_result: bool = False


Decide: TypeAlias = Callable[[Item | None], Change]


class Claim(NamedTuple):
    """A request's idempotency key in its place.

    ``scope`` is empty for POST, else the item's id; ``bucket`` is where the item lives or will
    live. ``fingerprint`` tells a repetition from another request under the same key.
    """

    bucket: int
    caller: str
    scope: bytes
    key: str
    fingerprint: bytes

    @property
    def place(self) -> tuple[str, bytes, str]:
        """What there is one record of."""
        return self.caller, self.scope, self.key

    @property
    def lock(self) -> int:
        """The number of the advisory lock that says: this request is running (``bigint``)."""
        digest = native.hash_bytes([self.caller.encode(), self.scope, self.key.encode()])
        return digest - (1 << 64) if digest >> 63 else digest


class Committed(NamedTuple):
    """A version that stands in the database; ``epoch`` as ``cache_epoch`` counts."""

    item_id: bytes
    epoch: int
    version: int


class Outcome(NamedTuple):
    """What came of a write: an item as it was written, no item after a deletion, or ``error``.

    ``fingerprint`` is that of the request it was recorded for, if it was. ``told`` is what caches
    must be told of before this is acknowledged, None where nothing can be cached: a new id.
    """

    kind: Kind
    item: Item | None = None
    error: HotshelfError | None = None
    fingerprint: bytes | None = None
    replayed: bool = False
    told: "Committed | None" = None

    def again(self, claim: Claim) -> "Outcome":
        """The same for another request with the key. Raises IdempotencyKeyReused."""
        if claim.fingerprint != self.fingerprint:
            raise key_reused()
        error = self.error and problem_again(self.error.code, problem_of(self.error))
        return Outcome(self.kind, self.item, error, self.fingerprint, replayed=True)


def key_reused() -> IdempotencyKeyReused:
    place = Place("was used for another request", header="idempotency-key")
    return IdempotencyKeyReused("The idempotency key belongs to another request.", place)


def not_rebuilt() -> InternalError:
    """The payload no longer makes the text whose hash was kept: another server's jsonb?"""
    return InternalError("The first answer cannot be made again.")


def in_progress() -> RequestInProgress:
    """A twin runs, here or elsewhere."""
    return RequestInProgress("The first request with this key is still running.", retry_after_s=1)


def is_kept(error: HotshelfError) -> bool:
    """Whether the item's state decided, so that a repetition gets the same answer."""
    return type(error) in _KEPT.values()


def problem_of(error: HotshelfError) -> dict[str, Any]:
    """The variable part of a problem, fit for JSON."""
    places = [[p.detail, p.pointer, p.parameter, p.header] for p in error.places]
    return {"detail": error.detail, "places": places, "extra": dict(error.extra)}


def problem_again(code: str, problem: Any) -> HotshelfError:
    """The error of a record, marked as a replay."""
    places: Sequence[Any] = problem["places"]
    error = _KEPT[code](
        problem["detail"], *(Place(*place) for place in places), extra=problem["extra"]
    )
    error.recorded = error.replayed = True
    return error
