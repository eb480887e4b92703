"""Indexes of the attributes that collections declare, built while serving.

Each is partial, for one collection alone, so others cost it nothing; its names and parts are as
in store/indexes.py. What a shard needs is read from its own rows of ``collections``, under the
lock that all builders take, so a process that knows less than the shard removes nothing.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import orjson
import psycopg
from psycopg import sql

from service.model.collection import Definition
from service.model.query import Path
from service.settings import Database
from service.store.attributes import declared
from service.store.connection import Row
from service.store.indexes import BUILDING, Index, build_on, partitions_without, patiently
from service.store.migrate import connect_primary
from service.store.shards import Shard

_PREFIX = "items_coll_"
_DEFINITIONS = "SELECT number, definition::text FROM collections WHERE name IS NOT NULL"
_PRESENT = """
    SELECT c.relname, i.indisvalid,
           (SELECT count(*) FROM pg_inherits WHERE inhparent = i.indexrelid)
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = 'items'::regclass AND starts_with(c.relname, 'items_coll_')"""
_SHARD = f"""
    SELECT (SELECT count(*) FROM pg_inherits WHERE inhparent = 'items'::regclass),
           EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
                    WHERE datname = current_database() AND locktype = 'advisory'
                      AND classid = 0 AND objid = {BUILDING} AND objsubid = 1)"""


class ShardIndexes(NamedTuple):
    """``built`` tells of each index by its name in how many of the ``partitions`` it is built.

    ``valid`` are those that lists may use: built in all of them. ``in_work``: a process builds.
    """

    partitions: int
    in_work: bool
    built: dict[str, int]
    valid: frozenset[str]


@lru_cache(maxsize=4096)
def index_name(collection: int, path: Path) -> str:
    """The parent index of a declared attribute."""
    digest = hashlib.sha256(declared(path).as_string(None).encode()).hexdigest()[:12]
    return f"{_PREFIX}{collection}_{digest}"


async def read_indexes(shard: Shard) -> ShardIndexes:
    """What there is on a shard. Raises ShardUnavailable, DatabaseTimeout or Overloaded."""
    async with shard.primary(reading=True) as connection:
        [(partitions, in_work)] = await (await connection.execute(_SHARD)).fetchall()
        rows = await (await connection.execute(_PRESENT)).fetchall()
    valid = frozenset(name for name, is_valid, _ in rows if is_valid)
    return ShardIndexes(partitions, in_work, {name: count for name, _, count in rows}, valid)


class IndexBuild:
    """One run on one shard, in a thread of its own; ``cancel`` ends it from another."""

    def __init__(self, number: int, urls: Sequence[str], settings: Database) -> None:
        self._where = (number, urls, settings)
        self._connection: psycopg.Connection[Row] | None = None

    def run(self) -> bool:
        """Build what is missing and drop what is not declared any more.

        False where another process does it. What a run that was cut off leaves is an invalid
        index, which the next one drops. Raises MigrationError and psycopg.Error.
        """
        with connect_primary(*self._where) as connection:
            connection.autocommit = True
            self._connection = connection
            locked = connection.execute("SELECT pg_try_advisory_lock(%s)", (BUILDING,)).fetchone()
            if locked != (True,):
                return False
            # The lock ends with the connection.
            _build(connection)
            return True

    def cancel(self) -> None:
        """End the statement that runs now; to be repeated until ``run`` has returned."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.cancel()


def _build(connection: psycopg.Connection[Row]) -> None:
    wanted = [
        Index(index_name(number, path), _definition(number, path))
        for number, text in connection.execute(_DEFINITIONS).fetchall()
        for path in Definition.stored(orjson.loads(text)).attributes
    ]
    present = {name for name, _, _ in connection.execute(_PRESENT).fetchall()}
    for index in wanted:
        if index.name not in present:
            statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON ONLY items {}")
            patiently(connection, statement.format(sql.Identifier(index.name), index.definition))
    changed = set()
    for index in wanted:
        for partition in partitions_without(connection, index.name):
            build_on(connection, index, partition)
            changed.add(partition)
    for partition in sorted(changed):
        # The planner knows an expression's values only from its index's statistics.
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(partition)))
    for name in sorted(present - {index.name for index in wanted}):
        patiently(connection, sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(name)))


def _definition(collection: int, path: Path) -> sql.Composed:
    return sql.SQL("({}, id) WHERE data IS NOT NULL AND collection = {}").format(
        declared(path), sql.Literal(collection)
    )
