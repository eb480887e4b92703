"""No statement of a request, or of a round of housekeeping, is planned to read a whole table."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from service.settings import Database
from service.store import copy, expiry, outbox, statements
from service.store.connection import conninfo
from service.store.write import statements as write_statements

Connection = psycopg.Connection[tuple[Any, ...]]

# So many that an index is always better, and so many at once that a join looks better than it is.
ROWS = 50_000
FEW = 500
AT_ONCE = 64

_TABLE = re.compile(r"\b(items|idempotency_keys|cache_outbox)(_\d+)?\b")
_FILL = (
    """INSERT INTO items
       SELECT gen_random_uuid(), 'c', CASE WHEN n % 10 > 0 THEN '{}'::jsonb END, 1, now(), now(),
              CASE WHEN n % 10 = 0 THEN now() - make_interval(secs => n) END
         FROM generate_series(1, {rows}) AS n""",
    """INSERT INTO idempotency_keys (bucket, caller, scope, key, fingerprint, outcome, recorded_at)
       SELECT n % 16, 'c', '', gen_random_uuid(), '', 'created', now() - make_interval(secs => n)
         FROM generate_series(1, {rows}) AS n""",
    "INSERT INTO cache_outbox SELECT gen_random_uuid(), n, 1 FROM generate_series(1, {rows}) AS n",
)

_IDS = [uuid4() for _ in range(AT_ONCE)]
_NUMBERS = list(range(AT_ONCE))
_BUCKETS = [n % 16 for n in _NUMBERS]
_TEXTS = [str(n) for n in _NUMBERS]
_BYTES = [text.encode() for text in _TEXTS]
_DATA = ["{}"] * AT_ONCE
_FALSE = [False] * AT_ONCE
_ZEROS = [0] * AT_ONCE
_ID, _LIFE, _EPOCH = _IDS[0], 3600.0, 1
_RECORD = (3, "c", b"", "k", b"f", "changed")
_KEPT = (_EPOCH, *_RECORD, "c", True, _LIFE)
_OLD = (_LIFE, 1, 2, 500)

PARAMETERS: dict[str, tuple[Any, ...]] = {
    "READ_OWNED": (_ID, _ID, 3),
    "READ_MANY_OWNED": (_IDS, _BUCKETS),
    "CREATE_ITEMS": (_NUMBERS, _BUCKETS, _TEXTS, _TEXTS, _BYTES, _IDS, _DATA, _ZEROS, _LIFE),
    "READ_CREATED": (_BUCKETS, _TEXTS, _TEXTS, _BYTES, _IDS, _DATA),
    "LOCK_FREE_ITEMS": (_IDS, _TEXTS, _NUMBERS),
    "UNRECORDED": (_IDS, _BUCKETS, _TEXTS, _BYTES, _TEXTS, _LIFE),
    "LOCK_ITEM": (_ID,),
    "LOCK_ITEM_IF_FREE": (_ID, 1),
    "READ_RECORD": (3, "c", b"", "k", _LIFE),
    "CREATE_ITEM": (_ID, "c", "{}", 0, 0),
    "REPLACE_DATA": ("{}", _ID),
    "DELETE_ITEM": (_ID,),
    "RECORD_PROBLEM": (*_RECORD, "{}", _LIFE),
    "CHANGE_ITEMS": (
        *(_IDS, _DATA, _NUMBERS, _TEXTS, _FALSE),
        *(_BUCKETS, _TEXTS, _BYTES, _TEXTS, _BYTES, _LIFE),
    ),
    "EXPIRE_RECORDS": _OLD,
    "PURGE_TOMBSTONES": _OLD,
    "END_ITEMS": (1, 3, 500),
    "ANNOUNCE_NAMED": (_IDS,),
    "CLEAR_OUTBOX": ([uuid4() for _ in range(1000)], list(range(1000))),
}
# Any rows will do for the relay, and it says how many. The others are an import's.
EXEMPT = {"READ_OUTBOX", "MAKE_INCOMING", "MERGE_INCOMING"}

STATEMENTS = {
    name: text
    for module in (statements, write_statements, expiry, outbox, copy)
    for name, text in vars(module).items()
    if isinstance(text, str) and name.isupper() and name[0] != "_"
}


def test_every_statement_is_looked_at() -> None:
    assert {n for n, t in STATEMENTS.items() if _TABLE.search(t)} == PARAMETERS.keys() | EXEMPT


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize(
    ("analyzed", "rows"),
    [([], 0), ([0], 0), ([FEW], 0), ([], ROWS), ([FEW], ROWS), ([FEW, ROWS], 0)],
    ids=["empty", "analyzed empty", "analyzed small", "large", "grown", "analyzed large"],
)
def test_rows_are_found_by_index(
    fresh: Database, analyzed: list[int], rows: int, mode: str
) -> None:
    """Small tables too: a plan that is kept may outlive their smallness by minutes."""
    with psycopg.connect(conninfo(fresh.shards[0][0], fresh), autocommit=True) as connection:
        _turn_off_autovacuum(connection)
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        for more in analyzed:
            _fill(connection, more)
            connection.execute("VACUUM ANALYZE")
        _fill(connection, rows)
        found = {name: _read_whole(connection, name) for name in PARAMETERS}
    assert {name: scans for name, scans in found.items() if scans} == {}


def _turn_off_autovacuum(connection: Connection) -> None:
    """The test alone says when the planner learns something."""
    rows = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname ~ %s",
        (r"^(items|idempotency_keys)_\d+$|^cache_outbox$",),
    ).fetchall()
    for (table,) in rows:
        connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())


def _fill(connection: Connection, rows: int) -> None:
    for statement in _FILL:
        connection.execute(statement.replace("{rows}", str(rows)).encode())


def _read_whole(connection: Connection, name: str) -> set[str]:
    """How a statement reads tables or indexes without a condition to find rows by."""
    return {scan for text, values in _ways(name) for scan in _scans(connection, text, values)}


def _ways(name: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    text, values = STATEMENTS[name], PARAMETERS[name]
    if name in ("CREATE_ITEM", "REPLACE_DATA", "DELETE_ITEM"):
        yield write_statements.announced(text), (*values, _EPOCH)
        yield write_statements.recorded(text), (*values, *_KEPT)
    else:
        yield text, values


def _scans(connection: Connection, text: str, values: tuple[Any, ...]) -> Iterator[str]:
    first, *others = text.split("%b")
    numbered = first + "".join(f"${n}{part}" for n, part in enumerate(others, 1))
    connection.execute(f"PREPARE asked AS {numbered}".encode())
    # Because EXPLAIN of the text itself would plan for these values in every mode.
    execute = f"EXPLAIN (FORMAT JSON) EXECUTE asked ({', '.join(['%s'] * len(values))})"
    [[explained]] = psycopg.ClientCursor(connection).execute(execute.encode(), values).fetchall()
    connection.execute("DEALLOCATE asked")
    for node in _nodes(explained[0]["Plan"]):
        kind, table = node["Node Type"], node.get("Relation Name", node.get("Index Name", ""))
        looks_up = "Index Cond" in node or kind in ("ModifyTable", "Bitmap Heap Scan")
        if _TABLE.match(table) and not looks_up:
            yield f"{kind} on {table}"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
