"""All items of a collection: COPY out of one shard, streamed in binary form."""

from collections.abc import Generator
from uuid import UUID

from psycopg import Connection, sql
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format

from service.model.item import Item
from service.store.connection import Row
from service.store.item_rows import ITEM_COLUMNS


class _RawUuid(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _RawJson(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)[1:]


def copy_items(
    connection: Connection[Row], after: bytes | None, collection: int = 0
) -> Generator[Item, None, None]:
    """A collection's items in a shard, or those with an id above ``after``, by ascending id.

    One streamed snapshot: neither side has more than a few rows in memory. The caller closes it.
    """
    connection.adapters.register_loader("uuid", _RawUuid)
    connection.adapters.register_loader("jsonb", _RawJson)
    # Merges the partitions' primary keys, because a sort would fill temporary files.
    connection.execute("SET enable_sort = off")
    beyond = sql.SQL("AND id > {}").format(UUID(bytes=after)) if after else sql.SQL("")
    query = sql.SQL(
        "COPY (SELECT {} FROM items WHERE data IS NOT NULL AND collection = {} {} ORDER BY id)"
        " TO STDOUT (FORMAT binary)"
    ).format(sql.SQL(ITEM_COLUMNS), sql.Literal(collection), beyond)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(["uuid", "text", "int8", "timestamptz", "timestamptz", "jsonb", "int2"])
        for row in copy.rows():
            yield Item(*row)
