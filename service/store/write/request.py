"""A request to change one item, during its transaction."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from uuid import UUID

from service.model.change import Change, Claim, Decide, Outcome
from service.model.errors import DatabaseTimeout
from service.model.item import Item


@dataclass(slots=True)
class ItemRequest:
    """``data`` is the payload of a create, from which replays are rebuilt too.

    ``patch_bytes`` is the size of a patch, 0 for other requests.

    ``collection`` is its number, ``definition`` the version of its definition that the request was
    checked with; 0 is the number of ``items``, which has no definition in the database.

    ``commit_sent`` is true from the sending of COMMIT until its outcome is known; ``given_up`` once
    the client was answered because the deadline passed.
    """

    item_id: bytes
    bucket: int
    claim: Claim | None
    data: bytes = b""
    patch_bytes: int = 0
    collection: int = 0
    definition: int = 0
    commit_sent: bool = False
    given_up: bool = False

    @property
    def uuid(self) -> UUID:
        return UUID(bytes=self.item_id)


class Write(NamedTuple):
    """A request, and the decision to make once its row is locked."""

    request: ItemRequest
    decide: Decide

    def decided(self, item: Item | None) -> Change:
        """The decision. Raises its errors, and DatabaseTimeout for an abandoned request.

        The group continues without an abandoned request, because its client may have retried it.
        """
        if self.request.given_up:
            raise DatabaseTimeout
        return self.decide(item)


class LeftOut(Exception):
    """Nothing was done for this request; it has to run alone."""


class LargePatch(LeftOut):
    """The patch and its item are too large to be processed on the event loop."""


Result: TypeAlias = Outcome | Exception


def raised(result: Result) -> Outcome:
    """The outcome; raises a result that is an exception."""
    if isinstance(result, Exception):
        raise result
    return result
