"""The indexes that lists are answered from, built without holding up writes.

An index of ``items`` is one on the parent table, which every new partition copies, and one on
each partition, attached to it. The parent's is declared in an instant; on partitions with rows
the work is done by CREATE INDEX CONCURRENTLY, which may be cut off anywhere: what it leaves is
an invalid index that is dropped and built anew. Names end in a hash of the definition, so an
index whose definition changes is another one.
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

# One for the long work of building, one for each instant of declaring and attaching.
BUILDING = 0x696E6478
_DECLARING = 0x696E6479
PREFIX = "items_list_"
# Collection 0 has indexes of its own, so that its lists cost the same whatever else there is.
_ITEMS = sql.SQL("WHERE data IS NOT NULL AND collection = 0")
_OTHERS = sql.SQL("WHERE data IS NOT NULL AND collection <> 0")

# Taking a table's lock makes every later writer wait, so we rather give up and come back.
_LOCK_TIMEOUT = "2s"
_ATTEMPTS = 60
_PAUSE_S = 0.5


class Index(NamedTuple):
    """``definition`` is what follows the table's name."""

    name: str
    definition: sql.Composable


def declare_indexes(connection: Connection, attributes: Iterable[Path]) -> None:
    """Make the parents of missing indexes.

    On a shard whose partitions are yet to be made this is all there is to do.
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
    """Build and attach what the partitions lack. One process at a time does it in a database."""
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
            # The planner knows an expression's values only from its index's statistics.
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(partition)))


def drop_indexes(connection: Connection, attributes: Iterable[Path]) -> None:
    """Drop those of attributes no longer declared, and those that others have replaced.

    To be called last, so that lists are answered from the old ones while the new ones are built.
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
    # A reader looks through the whole pending list, so it is kept short.
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
    """Outside of transactions, holding a lock; asked for again and again, never waited for.

    A statement that waits is a transaction that CREATE INDEX CONCURRENTLY would wait for in turn.
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
    """Run a statement that locks a whole table for an instant, as soon as its lock is free."""
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
