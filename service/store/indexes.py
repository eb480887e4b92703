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
BUILDING = 0x696E6478
_DECLARING = 0x696E6479
PREFIX = "items_list_"
# Collection 0 has indexes of its own, so that its lists cost the same whatever else there is.
_ITEMS = sql.SQL("WHERE data IS NOT NULL AND collection = 0")
_OTHERS = sql.SQL("WHERE data IS NOT NULL AND collection <> 0")

# Short, because waiting for a table's lock blocks every later writer: we retry instead.
_LOCK_TIMEOUT = "2s"
_ATTEMPTS = 60
_PAUSE_S = 0.5


class Index(NamedTuple):
    """``definition`` is what follows the table's name."""

    name: str
    definition: sql.Composable


def declare_indexes(connection: Connection, attributes: Iterable[Path]) -> None:
    """Create the parents of missing indexes.

    On a shard without partitions that is sufficient.
    """
    present = _present(connection)
    for index in _wanted(connection, attributes):
        if index.name not in present:
            statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON ONLY items {}")
            name = sql.Identifier(index.name)
            patiently(connection, statement.format(name, index.definition))


def build_indexes(
    connection: Connection, attributes: Iterable[Path], progress: Callable[[str], None]
) -> None:
    """Build and attach missing partition indexes, one process per database at a time."""
    missing = [
        (index, partition)
        for index in _wanted(connection, attributes)
        for partition in partitions_without(connection, index.name)
    ]
    if not missing:
        connection.commit()
        return
    with _alone(connection):
        for number, (index, partition) in enumerate(missing, 1):
            progress(f"index {number} of {len(missing)}: {index.name} on {partition}")
            build_on(connection, index, partition)
        for partition in sorted({partition for _, partition in missing}):
            # Because the planner's statistics of an expression come from its index.
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(partition)))


def drop_indexes(connection: Connection, attributes: Iterable[Path]) -> None:
    """Drop the indexes of attributes no longer declared, and replaced ones.

    Called last, so that lists use the old indexes while the new ones are built.
    """
    wanted = {index.name for index in _wanted(connection, attributes)}
    for name in sorted(_present(connection) - wanted):
        patiently(connection, sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(name)))


def _present(connection: Connection) -> set[str]:
    query = """SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                WHERE i.indrelid = 'items'::regclass AND starts_with(c.relname, %s)"""
    names = {name for (name,) in connection.execute(query, (PREFIX,)).fetchall()}
    connection.commit()
    return names


def _wanted(connection: Connection, attributes: Iterable[Path]) -> list[Index]:
    # Short pending list, because every read scans the whole of it.
    gin = sql.SQL("USING gin (data jsonb_path_ops) WITH (gin_pending_list_limit = 256)")
    general = {"living": "{}id", "owner": "{}owner_id, id", "created": "{}created_at, id"}
    definitions = [
        *((label, sql.SQL(f"({names.format('')})"), _ITEMS) for label, names in general.items()),
        ("data", gin, _ITEMS),
        *(
            (f"other_{label}", sql.SQL(f"({names.format('collection, ')})"), _OTHERS)
            for label, names in general.items()
        ),
        ("other_data", gin, _OTHERS),
        *(("attribute", sql.SQL("({}, id)").format(declared(path)), _ITEMS) for path in attributes),
    ]
    return [_index(connection, *definition) for definition in definitions]


def _index(connection: Connection, label: str, columns: sql.Composable, where: sql.SQL) -> Index:
    definition = sql.SQL(" ").join([columns, where])
    digest = hashlib.sha256(definition.as_string(connection).encode()).hexdigest()[:12]
    return Index(f"{PREFIX}{label}_{digest}", definition)


def partitions_without(connection: Connection, name: str) -> list[str]:
    """The partitions that have no index attached to the parent index of this name."""
    query = """
        SELECT child.relname
          FROM pg_inherits p JOIN pg_class child ON child.oid = p.inhrelid
         WHERE p.inhparent = 'items'::regclass
           AND NOT EXISTS (
               SELECT FROM pg_index i JOIN pg_inherits attached ON attached.inhrelid = i.indexrelid
                WHERE i.indrelid = child.oid AND attached.inhparent = to_regclass(%s))
         ORDER BY child.relname"""
    return [child for (child,) in connection.execute(query, (name,)).fetchall()]


def build_on(connection: Connection, index: Index, partition: str) -> None:
    """Build and attach the index of one partition; outside of transactions, BUILDING held."""
    parent, table = sql.Identifier(index.name), sql.Identifier(partition)
    name = f"{partition}_{index.name.removeprefix(PREFIX)}"
    child = sql.Identifier(name)
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    row = connection.execute(query, (name,)).fetchone()
    if row is not None and not row[0]:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(child))
    if row is None or not row[0]:
        statement = sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} {}")
        connection.execute(statement.format(child, table, index.definition))
    attach = sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(parent, child)
    patiently(connection, attach)


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold a lock outside of transactions; it is polled, never waited for.

    Because a waiting statement is a transaction, for which CREATE INDEX CONCURRENTLY would wait.
    """
    connection.commit()
    connection.autocommit = True
    try:
        while connection.execute("SELECT pg_try_advisory_lock(%s)", (BUILDING,)).fetchone() != (
            True,
        ):
            time.sleep(_PAUSE_S)
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (BUILDING,))
            connection.autocommit = False


def patiently(connection: Connection, statement: sql.Composed) -> None:
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
