"""The indexes for lists, built without blocking writes.

An index of ``items`` consists of one on the parent table, which every new partition copies, and one
on each partition, attached to it. Declaring the parent's is instant; on partitions with rows CREATE
INDEX CONCURRENTLY does the work. If that is interrupted, it leaves an invalid index, which is
dropped and rebuilt. Names end in a hash of the definition, so that an index with a changed
definition is a new one.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import psycopg
from psycopg import sql

from service.model.query import Path
from service.store.attributes import declared
from service.store.connection import Row

Connection: TypeAlias = psycopg.Connection[Row]

# One lock for building, which takes long, and one for declaring and attaching.
_BUILDING = 0x696E6478
_DECLARING = 0x696E6479
_PREFIX = "items_list_"
_LIVING = sql.SQL("WHERE data IS NOT NULL")

# Short, because waiting for a table's lock blocks every later writer: we retry instead.
_LOCK_TIMEOUT = "2s"
_ATTEMPTS = 60
_PAUSE_S = 0.5


class _Index(NamedTuple):
    name: str
    definition: sql.Composable


def declare_indexes(connection: Connection, attributes: Iterable[Path]) -> None:
    """Create the parents of missing indexes, and drop those of attributes no longer declared.

    On a shard without partitions that is sufficient.
    """
    wanted = _wanted(connection, attributes)
    query = """SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                WHERE i.indrelid = 'items'::regclass AND starts_with(c.relname, %s)"""
    present = {name for (name,) in connection.execute(query, (_PREFIX,)).fetchall()}
    connection.commit()
    for name in sorted(present - {index.name for index in wanted}):
        _patiently(connection, sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(name)))
    for index in wanted:
        if index.name not in present:
            statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON ONLY items {}")
            name = sql.Identifier(index.name)
            _patiently(connection, statement.format(name, index.definition))


def build_indexes(
    connection: Connection, attributes: Iterable[Path], progress: Callable[[str], None]
) -> None:
    """Build and attach missing partition indexes, one process per database at a time."""
    missing = [
        (index, partition)
        for index in _wanted(connection, attributes)
        for partition in _partitions_without(connection, index.name)
    ]
    if not missing:
        connection.commit()
        return
    with _alone(connection):
        for number, (index, partition) in enumerate(missing, 1):
            progress(f"index {number} of {len(missing)}: {index.name} on {partition}")
            _build(connection, index, partition)
        for partition in sorted({partition for _, partition in missing}):
            # Because the planner's statistics of an expression come from its index.
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(partition)))


def _wanted(connection: Connection, attributes: Iterable[Path]) -> list[_Index]:
    definitions = {
        "living": sql.SQL("(id)"),
        "owner": sql.SQL("(owner_id, id)"),
        "created": sql.SQL("(created_at, id)"),
        # Short, because every read scans the whole pending list.
        "data": sql.SQL("USING gin (data jsonb_path_ops) WITH (gin_pending_list_limit = 256)"),
    }
    wanted = [_index(connection, label, columns) for label, columns in definitions.items()]
    columns = sql.SQL("({}, id)")
    return wanted + [
        _index(connection, "attribute", columns.format(declared(path))) for path in attributes
    ]


def _index(connection: Connection, label: str, columns: sql.Composable) -> _Index:
    definition = sql.SQL(" ").join([columns, _LIVING])
    digest = hashlib.sha256(definition.as_string(connection).encode()).hexdigest()[:12]
    return _Index(f"{_PREFIX}{label}_{digest}", definition)


def _partitions_without(connection: Connection, name: str) -> list[str]:
    query = """
        SELECT child.relname
          FROM pg_inherits p JOIN pg_class child ON child.oid = p.inhrelid
         WHERE p.inhparent = 'items'::regclass
           AND NOT EXISTS (
               SELECT FROM pg_index i JOIN pg_inherits attached ON attached.inhrelid = i.indexrelid
                WHERE i.indrelid = child.oid AND attached.inhparent = to_regclass(%s))
         ORDER BY child.relname"""
    return [child for (child,) in connection.execute(query, (name,)).fetchall()]


def _build(connection: Connection, index: _Index, partition: str) -> None:
    parent, table = sql.Identifier(index.name), sql.Identifier(partition)
    name = f"{partition}_{index.name.removeprefix(_PREFIX)}"
    child = sql.Identifier(name)
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    row = connection.execute(query, (name,)).fetchone()
    if row is not None and not row[0]:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(child))
    if row is None or not row[0]:
        statement = sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} {}")
        connection.execute(statement.format(child, table, index.definition))
    attach = sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(parent, child)
    _patiently(connection, attach)


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold a lock outside of transactions; it is polled, never waited for.

    Because a waiting statement is a transaction, for which CREATE INDEX CONCURRENTLY would wait.
    """
    connection.commit()
    connection.autocommit = True
    try:
        while connection.execute("SELECT pg_try_advisory_lock(%s)", (_BUILDING,)).fetchone() != (
            True,
        ):
            time.sleep(_PAUSE_S)
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_BUILDING,))
            connection.autocommit = False


def _patiently(connection: Connection, statement: sql.Composed) -> None:
    """Run a statement that briefly locks a whole table, as soon as the lock is free."""
    for attempt in range(_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DECLARING,))
                connection.execute(statement)
        except psycopg.errors.LockNotAvailable:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_S)
        else:
            break
    if not connection.autocommit:
        connection.commit()
