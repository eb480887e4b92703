"""What a caller may do at all; who owns an item is decided on the item (items/write.py)."""

from service.model.caller import Caller
from service.model.errors import InsufficientScope

READ = "items:read"
WRITE = "items:write"
ADMIN = "items:admin"


def require(caller: Caller, scope: str) -> None:
    """Raises InsufficientScope, which carries the scope that is missing (RFC 6750 section 3.1)."""
    if not caller.may(scope):
        raise InsufficientScope(f"This needs the scope {scope}.", extra={"scope": scope})
