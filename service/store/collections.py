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

from service.store.collection_requests import Kind, Request, find_request, record_request
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


class Changed(NamedTuple):
    """What a change of a definition did, now or under the same idempotency key before."""

    row: StoredCollection
    kind: Kind
    replayed: bool = False


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
    shard: Shard, name: str, above: int, decide: Decide, request: Request | None = None
) -> Changed:
    """Create or change a definition on the first shard.

    Its version is greater than ``above``, the highest on any shard: a first shard restored from
    an old dump may know less than the others. ``decide`` sees what no other change alters before
    the COMMIT; what it raises is raised. Raises IdempotencyKeyReused.
    """
    async with _changing(shard) as connection:
        recorded = await _replay(connection, name, request)
        if recorded is not None:
            return recorded
        rows = await _rows(connection)
        text, known = decide(rows), named(rows, name)
        kind: Kind = "created" if known is None else "changed"
        number = _next_number(rows) if known is None else known.number
        if text is not None:
            await connection.execute(_LOCK, (LOCK_CLASS, number))
            version = max([above, *(row.version for row in rows)]) + 1
            await connection.execute(_STORE, (number, name, version, text.decode(), None, None))
        if request is not None:
            await record_request(connection, request, kind, number)
        changed = named(await _rows(connection), name)
        assert changed is not None
        return Changed(changed, kind)


async def drop_collection(
    shards: Sequence[Shard],
    number: int,
    decide: Callable[[Sequence[StoredCollection], bool], None],
    request: Request | None = None,
) -> bool:
    """Drop a collection on all shards at once, so that none takes an item in between.

    False if the same request did so before. ``decide`` sees all rows of the first shard and
    whether there are items; what it raises is raised and nothing is changed. Commits on the first
    shard first: where another's fails, ``copy_collections`` completes the change. Raises
    IdempotencyKeyReused.
    """
    has_items = False
    async with AsyncExitStack() as transactions:
        # Left in the opposite order.
        connections = [
            await transactions.enter_async_context(_changing(shard)) for shard in reversed(shards)
        ]
        first = connections[-1]
        if request is not None and await find_request(first, request) is not None:
            return False
        for connection in connections:
            await connection.execute(_LOCK, (LOCK_CLASS, number))
            [(found,)] = await (await connection.execute(_HAS_ITEMS, (number,))).fetchall()
            has_items = has_items or found
        decide(await _rows(first), has_items)
        version = 1 + max(
            [(await (await c.execute(_NEWEST)).fetchall())[0][0] for c in connections]
        )
        for connection in connections:
            await connection.execute(_DROP, (version, number))
        if request is not None:
            await record_request(first, request, "dropped", number)
    return True


async def was_dropped(shard: Shard, request: Request) -> bool:
    """Whether the same request dropped its collection before. Raises IdempotencyKeyReused."""
    async with shard.primary() as connection:
        return await find_request(connection, request) is not None


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


def _next_number(rows: Sequence[StoredCollection]) -> int:
    return 1 + max((row.number for row in rows), default=0)


async def _replay(connection: Connection, name: str, request: Request | None) -> Changed | None:
    recorded = None if request is None else await find_request(connection, request)
    if recorded is None:
        return None
    kind, number, version, definition, updated_at = recorded
    row = StoredCollection(number, name, version, definition, updated_at, None)
    return Changed(row, kind, replayed=True)


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
