"""A change of an item: the decision, its idempotency key, and its outcome.

The record of a request with a key is committed together with its change, in the item's shard. It
has no body for a POST or PUT, because the same payload makes the same jsonb text again; a hash
verifies that.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from service import native
from service.model import errors
from service.model.errors import (
    HotshelfError,
    IdempotencyKeyReused,
    InternalError,
    Location,
)
from service.model.item import Item

Kind: TypeAlias = Literal["created", "changed", "deleted"]

_RECORDED = {
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
    """A decision. ``owner_id`` is set for a create.

    ``keeps_result``: the idempotency record must contain the data, because a replay cannot make it
    from the request alone.
    """

    kind: Kind
    data: bytes = b""
    owner_id: str = ""
    keeps_result: bool = False


Decide: TypeAlias = Callable[[Item | None], Change]


class Claim(NamedTuple):
    """A request's claim to be the only one under its idempotency key.

    ``caller``, ``scope`` and ``key`` identify the record: ``scope`` is empty for POST, else the
    item's id. ``bucket`` is the item's, so that its record moves with it. ``fingerprint``
    distinguishes a retry from another request with the same key.
    """

    bucket: int
    caller: str
    scope: bytes
    key: str
    fingerprint: bytes

    @property
    def identity(self) -> tuple[str, bytes, str]:
        """Equal for requests that share a record."""
        return self.caller, self.scope, self.key

    @property
    def lock(self) -> int:
        """The key (``bigint``) of the advisory lock that is held while the request runs."""
        digest = native.hash_bytes([self.caller.encode(), self.scope, self.key.encode()])
        return digest - (1 << 64) if digest >> 63 else digest


class Committed(NamedTuple):
    """A version of an item that was committed; ``epoch`` is its bucket's (``cache_epoch``)."""

    item_id: bytes
    epoch: int
    version: int


class Outcome(NamedTuple):
    """The result of a write: the item as written, None after a deletion, or ``error``.

    ``fingerprint`` is that of the recorded request, if there is a record. Before the client gets
    the outcome, caches must drop entries older than ``invalidation``; None if they cannot have any,
    because the id is new.
    """

    kind: Kind
    item: Item | None = None
    error: HotshelfError | None = None
    fingerprint: bytes | None = None
    replayed: bool = False
    invalidation: Committed | None = None

    def again(self, claim: Claim) -> "Outcome":
        """This outcome as a replay for ``claim``, made under the same key.

        Raises IdempotencyKeyReused if another request made it.
        """
        if claim.fingerprint != self.fingerprint:
            raise key_reused()
        error = self.error and problem_again(self.error.code, problem_of(self.error))
        return Outcome(self.kind, self.item, error, self.fingerprint, replayed=True)


def key_reused() -> IdempotencyKeyReused:
    where = Location("was used for another request", header="idempotency-key")
    return IdempotencyKeyReused("The idempotency key belongs to another request.", where)


def not_rebuilt() -> InternalError:
    """The error for a payload that no longer makes the text whose hash was recorded.

    That happens only if another PostgreSQL release writes jsonb differently.
    """
    return InternalError("The first answer cannot be made again.")


def is_recorded(error: HotshelfError) -> bool:
    """Whether an error is recorded, that is, depends on the item's state.

    A retry gets the same answer even if the state has changed. Errors that depend on the request
    alone need no record, because they occur again.
    """
    return type(error) in _RECORDED.values()


def problem_of(error: HotshelfError) -> dict[str, Any]:
    """The JSON value by which a record stores an error."""
    locations = [[p.detail, p.pointer, p.parameter, p.header] for p in error.locations]
    return {"detail": error.detail, "places": locations, "extra": dict(error.extra)}


def problem_again(code: str, problem: Any) -> HotshelfError:
    """The error from a record, marked as a replay."""
    locations: Sequence[Any] = problem["places"]
    error = _RECORDED[code](
        problem["detail"], *(Location(*one) for one in locations), extra=problem["extra"]
    )
    error.recorded = error.replayed = True
    return error
