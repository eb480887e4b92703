"""Checks scopes; ownership is checked on the item itself (items/decision.py)."""

from typing import Final

from service.model.caller import Caller
from service.model.collection import NAME
from service.model.errors import InsufficientScope
from service.model.resource import ITEMS

READ: Final = ITEMS.read_scope
WRITE: Final = ITEMS.write_scope
ADMIN: Final = ITEMS.admin_scope
ALL: Final = (READ, WRITE, ADMIN, "*:read", "*:write")


def is_scope(word: str) -> bool:
    """Whether it can be granted: one of ALL, or reading or writing any collection."""
    name, _, kind = word.partition(":")
    return word in ALL or (kind in ("read", "write") and NAME.fullmatch(name) is not None)


def require(caller: Caller, scope: str) -> None:
    """Raises InsufficientScope, which names the missing scope (RFC 6750 section 3.1)."""
    if not caller.may(scope):
        raise InsufficientScope(f"This request needs the scope {scope}.", extra={"scope": scope})
