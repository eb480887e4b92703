"""Bulk transfer: COPY into one shard, over a blocking connection of its own.

Rows are in PostgreSQL's binary COPY format, which transfers JSON text unescaped, byte for byte.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg import Connection, sql

from service.settings import Database
from service.store.connection import Row
from service.store.item_rows import ITEM_COLUMNS
from service.store.migrate import connect_primary
from service.store.statements import SHARD_MAP

# Rows whose ids may exist, numbered from 1 in order of arrival.
MAKE_INCOMING = f"""
    CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS
    SELECT {ITEM_COLUMNS} FROM items WITH NO DATA;
    ALTER TABLE incoming ADD n bigint GENERATED ALWAYS AS IDENTITY"""

# Store rows whose id is free and return the numbers of the others. A tombstone's id is free, and
# its version continues, because an entity tag of the deleted item must never be valid again.
MERGE_INCOMING = f"""
    WITH first AS (SELECT DISTINCT ON (id) * FROM incoming ORDER BY id, n),
    stored AS (
        INSERT INTO items ({ITEM_COLUMNS}) SELECT {ITEM_COLUMNS} FROM first
        ON CONFLICT (id) DO UPDATE
           SET owner_id = excluded.owner_id, data = excluded.data,
               version = greatest(items.version + 1, excluded.version),
               created_at = excluded.created_at, updated_at = excluded.updated_at,
               deleted_at = NULL
         WHERE items.data IS NULL AND items.collection = excluded.collection
        RETURNING id, version, right(tableoid::regclass::text, 4)::integer AS bucket),
    outbox AS (
        INSERT INTO cache_outbox (item_id, version, epoch)
        SELECT id, version, cache_epoch(bucket) FROM stored
        ON CONFLICT DO NOTHING)
    SELECT n FROM incoming
     WHERE n NOT IN (SELECT n FROM first JOIN stored USING (id))
     ORDER BY n"""

# Of an encoded row: data comes last, because all before it may be the same in many rows.
_ROW_COLUMNS = sql.SQL("id, owner_id, version, created_at, updated_at, collection, data")
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_JSONB_FORMAT = 1
# How long to wait for the last transaction of an interrupted run before we report it as running.
_LOCK_TIMEOUT_MS = 10_000


# Array of ids. Outbox rows for existing rows, each looked up in its own partition, as in
# READ_MANY_OWNED.
ANNOUNCE_NAMED = """
    INSERT INTO cache_outbox (item_id, version, epoch)
    SELECT named.id, found.version, cache_epoch(found.bucket)
      FROM unnest(%b::uuid[]) AS named (id)
     CROSS JOIN LATERAL (
        SELECT version, right(tableoid::regclass::text, 4)::integer AS bucket
          FROM items WHERE items.id = named.id OFFSET 0) AS found
    ON CONFLICT DO NOTHING"""


class Checked(NamedTuple):
    """The collection that rows are of, and the version of the definition they were checked with."""

    collection: int = 0
    version: int = 0


OF_ITEMS: Final = Checked()


class CopyFailed(Exception):
    """PostgreSQL refused a batch; the text is one line. The transaction was rolled back."""


class ImportRefused(Exception):
    """An import that cannot begin; the message says why."""


@dataclass(frozen=True, slots=True)
class Position:
    """An import's position in one shard; ``line`` is the last processed input line."""

    first_id: bytes
    line: int
    finished: bool


def row_head(
    owner_id: bytes, version: int, created_at: datetime, updated_at: datetime, collection: int = 0
) -> bytes:
    """The part of an encoded row between the id and the data."""
    return struct.pack(
        f">i{len(owner_id)}siqiqiqih",
        len(owner_id),
        owner_id,
        8,
        version,
        8,
        (created_at - _EPOCH) // _MICROSECOND,
        8,
        (updated_at - _EPOCH) // _MICROSECOND,
        2,
        collection,
    )


def encode_row(item_id: bytes, head: bytes, data: bytes) -> bytes:
    """One row in COPY's binary format."""
    return b"\x00\x07\x00\x00\x00\x10%b%b%b%b" % (
        item_id,
        head,
        struct.pack(">ib", len(data) + 1, _JSONB_FORMAT),
        data,
    )


def copy_rows_into(connection: Connection[Row], table: str, rows: bytes | bytearray) -> None:
    """COPY encoded rows into a table with the columns of items."""
    target = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table), _ROW_COLUMNS
    )
    with connection.cursor() as cursor, cursor.copy(target) as copy:
        copy.write(_HEADER)
        copy.write(rows)
        copy.write(_TRAILER)


class ShardWriter:
    """Writes an import's rows into one shard. Not thread-safe."""

    def __init__(
        self,
        number: int,
        urls: Sequence[str],
        settings: Database,
        name: str,
        checked: Checked = OF_ITEMS,
    ) -> None:
        self._checked = checked
        self._connection = connect_primary(number, urls, settings)
        self._connection.autocommit = True
        self._import_id = name
        self._careful = False

    def close(self) -> None:
        self._connection.close()

    def begin(self, source_hash: str, first_id: bytes) -> Position:
        """The import's position in this shard; a new import begins now. Raises ImportRefused.

        Locks the import's name until the connection ends, so that no earlier run can commit
        afterwards. ``first_id`` is used only if the import is new.
        """
        self._lock()
        with self._connection.transaction():
            self._connection.execute(
                "INSERT INTO import_positions (import_id, source_hash, first_id)"
                " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (self._import_id, source_hash, UUID(bytes=first_id)),
            )
            row = self._connection.execute(
                "SELECT source_hash, first_id, line, finished FROM import_positions"
                " WHERE import_id = %s",
                (self._import_id,),
            ).fetchone()
        assert row is not None
        if row[0] != source_hash:
            raise ImportRefused(f"import {self._import_id} was started with other input or options")
        return Position(row[1].bytes, row[2], row[3])

    def read_map(self) -> list[int]:
        """The shard of each bucket."""
        rows = self._connection.execute(SHARD_MAP).fetchall()
        return [int(shard) for _, shard, _ in rows]

    def _lock(self) -> None:
        self._connection.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
        try:
            self._connection.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 0))", (self._import_id,)
            )
        except psycopg.errors.LockNotAvailable:
            raise ImportRefused(f"import {self._import_id} is already running") from None
        self._connection.execute("SET lock_timeout = 0")

    def store(
        self,
        rows: bytes | bytearray,
        lines: Sequence[int],
        named: Sequence[bytes],
        line: int,
        on_duplicates: Callable[[list[int]], None],
    ) -> int:
        """Store encoded rows and move the position to ``line``, in one transaction.

        ``lines`` are the rows' input lines. Those whose id exists, as an item or in an earlier row,
        are skipped, passed to ``on_duplicates`` before the commit, and counted. ``named`` are ids
        that the input names itself; they get outbox rows, because caches may have "not found" for
        them. Raises CopyFailed.
        """
        try:
            return self._store(rows, lines, named, line, on_duplicates)
        except psycopg.Error as error:
            raise CopyFailed(str(error).partition("\n")[0]) from error

    def _store(
        self,
        rows: bytes | bytearray,
        lines: Sequence[int],
        named: Sequence[bytes],
        line: int,
        on_duplicates: Callable[[list[int]], None],
    ) -> int:
        # Only after a duplicate was seen, because checking costs about as much as storing.
        if not self._careful and lines:
            try:
                with self._connection.transaction():
                    self._check_definition()
                    copy_rows_into(self._connection, "items", rows)
                    self._announce(named)
                    self._advance(line)
                return 0
            except psycopg.errors.UniqueViolation:
                pass
        with self._connection.transaction():
            self._check_definition()
            duplicates = self._merge(rows) if lines else []
            self._careful = bool(duplicates)
            if duplicates:
                on_duplicates([lines[n - 1] for n in duplicates])
            self._advance(line)
        return len(duplicates)

    def _check_definition(self) -> None:
        """Fails the transaction where the rows were checked with an older definition."""
        if self._checked.collection:
            self._connection.execute(
                "SELECT check_definition(%s::smallint, %s::bigint)", self._checked
            )

    def finish(self) -> None:
        """Record that every shard has processed the whole input."""
        self._connection.execute(
            "UPDATE import_positions SET finished = true, updated_at = now() WHERE import_id = %s",
            (self._import_id,),
        )

    def _merge(self, rows: bytes | bytearray) -> list[int]:
        """Store rows whose id is free, with outbox rows; returns the others' numbers, from 1."""
        self._connection.execute(MAKE_INCOMING)
        copy_rows_into(self._connection, "incoming", rows)
        taken = self._connection.execute(MERGE_INCOMING).fetchall()
        return [int(n) for (n,) in taken]

    def _announce(self, named: Sequence[bytes]) -> None:
        if named:
            ids = [UUID(bytes=item_id) for item_id in named]
            self._connection.execute(ANNOUNCE_NAMED, (ids,))

    def _advance(self, line: int) -> None:
        self._connection.execute(
            "UPDATE import_positions SET line = %s, updated_at = now() WHERE import_id = %s",
            (line, self._import_id),
        )
