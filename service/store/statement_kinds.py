"""What kind of work a round trip is, for metrics: few kinds, whatever the statements are."""

from collections.abc import Sequence
from typing import Any, Final

from service.store import statements

_KINDS: Final = {
    statements.READ_OWNED: "read",
    statements.READ_MANY_OWNED: "read",
    statements.WAL_POSITION: "position",
    statements.HAS_REPLAYED: "position",
    statements.CREATE_ITEMS: "create",
    statements.TRANSACTION: "lock",
    statements.READ_RECORD: "lock",
    statements.EPOCHS: "outbox",
    statements.CLEAR_OUTBOX: "outbox",
    "COMMIT": "commit",
    "ROLLBACK": "rollback",
}


def kind_of(steps: Sequence[tuple[str, Any]]) -> str:
    """By the last statement: of a change it is the COMMIT, which waits for the disk."""
    return _KINDS.get(steps[-1][0], "other")
