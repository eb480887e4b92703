"""Classifies round trips into a few kinds for metrics."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

# Substring of a statement to kind; the first match counts. A change counts by its COMMIT, which
# waits for the disk.
_KINDS: Final = (
    ("COMMIT", "commit"),
    ("ROLLBACK", "rollback"),
    ("SELECT bucket, cache_epoch(bucket) FROM owned_buckets", "outbox"),
    ("DELETE FROM cache_outbox", "outbox"),
    ("INSERT INTO items", "create"),
    ("UPDATE items", "change"),
    ("INSERT INTO idempotency_keys", "change"),
    ("FROM idempotency_keys", "lock"),
    ("idempotency_keys AS known", "lock"),
    ("FOR UPDATE", "lock"),
    ("pg_try_advisory_xact_lock", "lock"),
    ("pg_current_xact_id()", "lock"),
    ("pg_current_wal", "position"),
    ("pg_last_wal", "position"),
    ("pg_xact_status", "position"),
    ("items", "read"),
)


def kind_of(steps: Sequence[tuple[str, Any]]) -> str:
    """The kind of the last statement."""
    return _kind(steps[-1][0])


@cache
def _kind(statement: str) -> str:
    return next((kind for part, kind in _KINDS if part in statement), "other")
