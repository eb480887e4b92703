"""A request to change one item, on its way through a transaction."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from uuid import UUID

from service.model.change import Change, Claim, Decide, Outcome
from service.model.errors import DatabaseTimeout
from service.model.item import Item


@dataclass(slots=True)
class ItemRequest:
    """``data`` is the payload, from which a creation is made and a replay is rebuilt.

    ``patch_bytes`` is the size of a patch, 0 for other requests.

    ``collection`` is its number, ``definition`` the version of its definition that the request was
    checked with; 0 is the number of ``items``, which has no definition in the database.

    ``commit_sent`` is true from when COMMIT is sent until its outcome is known; ``given_up`` once
    the client has been answered, because the deadline passed.
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
        """Raises what the decision raises, and DatabaseTimeout for a request that was given up.

        Its group goes on, but must leave it out, because its client may have sent it again.
        """
        if self.request.given_up:
            raise DatabaseTimeout
        return self.decide(item)


class LeftOut(Exception):
    """Nothing was done for this request: it has to go alone."""


class LargePatch(LeftOut):
    """The patch and its item are so large that the event loop must not work through them."""


Result: TypeAlias = Outcome | Exception


def raised(result: Result) -> Outcome:
    """The outcome. Raises the exception that the result is otherwise."""
    if isinstance(result, Exception):
        raise result
    return result
