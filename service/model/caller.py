"""The authenticated caller of a request."""

from dataclasses import dataclass, field

from service.model.rate import Rate
from service.model.resource import ITEMS


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
        """The admin scope implies every other scope of items."""
        return scope in self.scopes or ITEMS.admin_scope in self.scopes
