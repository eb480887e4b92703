"""The authenticated caller of a request."""

from dataclasses import dataclass, field
from functools import cache

from service.model.rate import Rate
from service.model.resource import ITEMS

# What stands for a kind of scope in every collection.
_OF_ALL = {"read": "*:read", "write": "*:write"}


@cache
def satisfying(scope: str) -> tuple[str, ...]:
    """The words of which a caller needs one for ``scope``, which is one of the service's own."""
    of_all = _OF_ALL.get(scope.rpartition(":")[2])
    return (scope, ITEMS.admin_scope, *([of_all] if of_all else []))


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller. ``subject`` owns the items it creates; ``scopes`` are whole words.

    ``account`` is what requests count against, ``limit_key`` its key in the limiter; ``rate`` None
    means the default.
    """

    subject: str
    scopes: frozenset[str]
    account: str = ""
    rate: Rate | None = None
    limit_key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit_key", f"account:{self.account}")

    def may(self, scope: str) -> bool:
        """The admin scope implies every other; ``*:read`` and ``*:write`` are any collection."""
        return not self.scopes.isdisjoint(satisfying(scope))

    @property
    def is_admin(self) -> bool:
        """Whether it may see and change the items of all owners."""
        return ITEMS.admin_scope in self.scopes
