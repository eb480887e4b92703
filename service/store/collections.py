"""Definitions of collections: the same rows on every shard, of which the first shard's count.

A change is committed on the first shard and then copied to the others, oldest change first. A
write to a collection shares the lock ``LOCK_CLASS, number`` on its item's shard and compares the
definition's version there; a change takes that lock alone, so it waits for the writes under way,
and later ones see it. All functions raise ShardUnavailable, DatabaseTimeout or Overloaded.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple

from service.store.connection import Connection
from service.store.shards import Shard

# The first of the two numbers of these advisory locks.
LOCK_CLASS: Final = 0x636F6C6C
# The second number is a collection's, or this for changes as such: one at a time.
_CHANGES = 0
# Later writes queue behind a change that waits, so it must not wait long.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
_LOCK = "SELECT pg_advisory_xact_lock(%s, %s)"

_COLUMNS = "number, name, version, definition, updated_at, dropped_at"
_NEWEST = "SELECT coalesce(max(version), 0) FROM collections"
_VERSIONS = "SELECT number, version FROM collections"
_ALL = f"SELECT {_COLUMNS} FROM collections ORDER BY version"
_STORE = f"""
    INSERT INTO collections AS known ({_COLUMNS})
    VALUES (%s, %s, %s, %s::text::jsonb, coalesce(%s, now()), %s)
    ON CONFLICT (number) DO UPDATE
       SET name = excluded.name, version = excluded.version, definition = excluded.definition,
           updated_at = excluded.updated_at, dropped_at = excluded.dropped_at
     WHERE known.version < excluded.version"""
_DROP = """
    UPDATE collections SET name = NULL, version = %s, definition = '{}', updated_at = now(),
           dropped_at = now()
     WHERE number = %s"""
_HAS_ITEMS = "SELECT EXISTS (SELECT FROM items WHERE collection = %s AND data IS NOT NULL)"


class StoredCollection(NamedTuple):
    """A row. ``name`` is None once it is dropped; ``definition`` is JSON text.

    ``version`` is of the change that made it, counted over all collections from 1.
    """

    number: int
    name: str | None
    version: int
    definition: bytes
    updated_at: datetime
    dropped_at: datetime | None


# What a definition's new text is, given all rows; None leaves it as it is. May raise.
Decide = Callable[[Sequence[StoredCollection]], bytes | None]


async def newest(shard: Shard) -> int:
    """The highest version on this shard, which any change raises."""
    async with shard.primary(reading=True) as connection:
        [(version,)] = await (await connection.execute(_NEWEST)).fetchall()
        assert isinstance(version, int)
        return version


async def read_collections(shard: Shard) -> list[StoredCollection]:
    """All rows, those of dropped collections too, by version."""
    async with shard.primary(reading=True) as connection:
        return await _rows(connection)


async def change_collection(
    shard: Shard, name: str, above: int, decide: Decide
) -> StoredCollection:
    """Create or change a definition on the first shard; what stands then.

    Its version is greater than ``above``, the highest on any shard: a first shard restored from
    an old dump may know less than the others. ``decide`` sees what no other change alters before
    the COMMIT; what it raises is raised.
    """
    async with _changing(shard) as connection:
        rows = await _rows(connection)
        text = decide(rows)
        known = named(rows, name)
        if text is None and known is not None:
            return known
        assert text is not None
        number = max((row.number for row in rows), default=0) + 1 if known is None else known.number
        await connection.execute(_LOCK, (LOCK_CLASS, number))
        version = max([above, *(row.version for row in rows)]) + 1
        await connection.execute(_STORE, (number, name, version, text.decode(), None, None))
        changed = named(await _rows(connection), name)
        assert changed is not None
        return changed


async def drop_collection(
    shards: Sequence[Shard], number: int, decide: Callable[[Sequence[StoredCollection], bool], None]
) -> None:
    """Drop a collection on all shards at once, so that none takes an item in between.

    ``decide`` sees all rows of the first shard and whether there are items; what it raises is
    raised and nothing is changed. Commits on the first shard first: where another's fails,
    ``copy_collections`` completes the change.
    """
    has_items = False
    async with AsyncExitStack() as transactions:
        # Left in the opposite order.
        connections = [
            await transactions.enter_async_context(_changing(shard)) for shard in reversed(shards)
        ]
        for connection in connections:
            await connection.execute(_LOCK, (LOCK_CLASS, number))
            [(found,)] = await (await connection.execute(_HAS_ITEMS, (number,))).fetchall()
            has_items = has_items or found
        rows = await _rows(connections[-1])
        decide(rows, has_items)
        version = 1 + max(
            [(await (await c.execute(_NEWEST)).fetchall())[0][0] for c in connections]
        )
        for connection in connections:
            await connection.execute(_DROP, (version, number))


async def copy_collections(shard: Shard, rows: Sequence[StoredCollection]) -> None:
    """Bring a shard up to the first one's ``rows``, in the order of their versions.

    A name is free again only when the collection that had it is dropped, hence the order.
    """
    async with shard.primary(reading=True) as connection:
        present: dict[int, int] = dict(await (await connection.execute(_VERSIONS)).fetchall())
    for row in rows:
        if present.get(row.number, 0) < row.version:
            async with shard.primary() as connection, connection.transaction():
                await connection.execute(_LOCK_TIMEOUT)
                await connection.execute(_LOCK, (LOCK_CLASS, row.number))
                text = row.definition.decode()
                await connection.execute(_STORE, (*row[:3], text, *row[4:]))


def named(rows: Sequence[StoredCollection], name: str) -> StoredCollection | None:
    """The collection that has this name now."""
    return next((row for row in rows if row.name == name), None)


@asynccontextmanager
async def _changing(shard: Shard) -> AsyncIterator[Connection]:
    """A transaction that holds back all other changes on this shard."""
    async with shard.primary() as connection, connection.transaction():
        await connection.execute(_LOCK_TIMEOUT)
        await connection.execute(_LOCK, (LOCK_CLASS, _CHANGES))
        yield connection


async def _rows(connection: Connection) -> list[StoredCollection]:
    return [StoredCollection(*row) for row in await (await connection.execute(_ALL)).fetchall()]
