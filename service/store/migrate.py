"""Brings every shard's schema up to date: numbered SQL files, indexes, owned partitions.

It can be run at any time and from several machines at once, because it holds an advisory lock on
each shard. docs/decisions/0003-migrations.md says why there is no migration library.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import Connection, sql

from service.model.query import Path
from service.settings import Database
from service.store.connection import KEEP_COMMITS_SYNCHRONOUS, Row, conninfo
from service.store.examine import migration_names, refusal, traits_of
from service.store.indexes import build_indexes, declare_indexes, drop_indexes
from service.store.shards import ShardMapError
from service.store.timelines import NODE_STATE, REMEMBERED, NodeState

_LOCK = 0x686F7473  # any constant that nothing else in these databases locks

# Because a server that is busy with a checkpoint or an index may not read for a while.
_PATIENT: dict[str, Any] = {"options": "-c timezone=UTC", "tcp_user_timeout": 60_000}
_ASKED_AT_ONCE = 16

# Who waits for a table's lock holds up all that come later, so it gives up and comes back.
_LOCK_TIMEOUT = "2s"
_ATTEMPTS = 60
_PAUSE_S = 0.5


class MigrationError(Exception):
    """A shard cannot be migrated; the message says which and why."""


def migrate(
    settings: Database,
    progress: Callable[[str], None] = lambda _: None,
    attributes: Sequence[Path] = (),
) -> None:
    """Migrate every shard. Raises MigrationError, and ShardMapError for changed settings.

    ``attributes`` are the declared ones, which get indexes; indexes of others are dropped.
    """
    if not settings.shards:
        raise MigrationError("no shards are configured: set database.shards")
    for number, urls in enumerate(settings.shards):
        with connect_primary(number, urls, settings) as connection:
            _migrate_shard(connection, number, settings, progress, attributes)


def _migrate_shard(
    connection: Connection[Row],
    number: int,
    settings: Database,
    progress: Callable[[str], None],
    attributes: Sequence[Path],
) -> None:
    if reason := refusal(traits_of(connection)):
        raise MigrationError(f"shard {number}: {reason}")
    connection.commit()
    applied = _apply_files(connection)
    if number == 0:
        _make_cursor_key(connection)
    # Before the partitions, because a new one copies the declared indexes.
    declare_indexes(connection, attributes)
    _own_partitions(connection, number, len(settings.shards), settings.buckets)
    build_indexes(connection, attributes, lambda text: progress(f"shard {number}: {text}"))
    drop_indexes(connection, attributes)
    progress(f"shard {number}: {len(applied)} migrations applied")


def connect_primary(number: int, urls: Sequence[str], settings: Database) -> Connection[Row]:
    """A blocking connection to a shard's primary, without the per-request time limits.

    Of several nodes that take writes it is the one on the highest timeline, and never one below the
    highest timeline that any node of any shard has stored. Raises MigrationError.
    """
    others = [url for nodes in settings.shards for url in nodes if url not in urls]
    with ThreadPoolExecutor(min(_ASKED_AT_ONCE, len(urls) + len(others))) as pool:
        states = list(pool.map(lambda url: _state_of(url, settings), [*urls, *others]))
    nodes = list(zip(urls, states, strict=False))
    remembered = (s.remembered.get(number, 0) for s in states if isinstance(s, NodeState))
    seen = (s.timeline for _, s in nodes if isinstance(s, NodeState))
    highest = max([0, *remembered, *seen])
    for url, state in nodes:
        if isinstance(state, NodeState) and state.takes_writes and state.timeline == highest:
            connection = psycopg.connect(conninfo(url, settings), **_PATIENT)
            connection.execute(KEEP_COMMITS_SYNCHRONOUS)
            connection.commit()
            return connection
    reasons = (_why_not(state, highest) for _, state in nodes)
    raise MigrationError(f"shard {number} has no primary: {'; '.join(reasons)}")


def _state_of(url: str, settings: Database) -> NodeState | str:
    """The node's state, or why it cannot be queried."""
    try:
        with psycopg.connect(conninfo(url, settings), autocommit=True) as connection:
            [(takes_writes, timeline, fsync)] = connection.execute(NODE_STATE).fetchall()
            try:
                remembered: dict[int, int] = dict(connection.execute(REMEMBERED).fetchall())
            except psycopg.errors.UndefinedTable:
                remembered = {}  # not migrated yet
            return NodeState(takes_writes, timeline, fsync, remembered)
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1]


def _why_not(state: NodeState | str, highest: int) -> str:
    if isinstance(state, str):
        return state
    if not state.takes_writes:
        return "a replica"
    return f"a former primary on timeline {state.timeline}, where {highest} was seen"


def _apply_files(connection: Connection[Row]) -> list[str]:
    """Apply what is new, each time for as long as requests may be held up by a table's lock."""
    for attempt in range(_ATTEMPTS):
        try:
            return _apply_new(connection)
        except psycopg.errors.LockNotAvailable:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError


def _apply_new(connection: Connection[Row]) -> list[str]:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        # After that lock, which another migration may hold for long.
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            " name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row[0] for row in connection.execute("SELECT name FROM schema_migrations")}
        folder = files("service.store") / "migrations"
        new = [name for name in migration_names() if name not in done]
        for name in new:
            connection.execute((folder / name).read_bytes())
            connection.execute("INSERT INTO schema_migrations (name) VALUES (%s)", (name,))
    return new


def _make_cursor_key(connection: Connection[Row]) -> None:
    """The key that authenticates the cursors of all workers; made once, never shown."""
    connection.execute(
        "INSERT INTO cursor_key (secret) VALUES (%s) ON CONFLICT DO NOTHING",
        (secrets.token_bytes(32),),
    )
    connection.commit()


def _own_partitions(connection: Connection[Row], number: int, shards: int, buckets: int) -> None:
    """Make the partitions that this shard owns by the map; the first run creates the map."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        row = connection.execute("SELECT shard, buckets FROM cluster").fetchone()
        if row is None:
            _draw_map(connection, number, shards, buckets)
        elif (row[0], row[1]) != (number, buckets):
            raise ShardMapError(
                f"database.shards[{number}] is shard {row[0]} of {row[1]} buckets; the settings "
                f"say shard {number} of {buckets} buckets, which are fixed at the first migrate"
            )
        highest = connection.execute("SELECT max(shard) FROM shard_map").fetchone()
        if highest is None or highest[0] != shards - 1:
            raise ShardMapError(f"the shard map is not one of {shards} shards")
        for (bucket,) in connection.execute("SELECT bucket FROM owned_buckets").fetchall():
            connection.execute(
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {} PARTITION OF items"
                    " FOR VALUES WITH (MODULUS {}, REMAINDER {})"
                ).format(sql.Identifier(f"items_{bucket:04d}"), buckets, bucket)
            )
            keys = sql.Identifier(f"idempotency_keys_{bucket:04d}")
            connection.execute(
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {} PARTITION OF idempotency_keys FOR VALUES IN ({})"
                ).format(keys, bucket)
            )
            # So that a record with the result of a PATCH is compressed within its row.
            connection.execute(
                sql.SQL("ALTER TABLE {} SET (toast_tuple_target = 256)").format(keys)
            )


def _draw_map(connection: Connection[Row], number: int, shards: int, buckets: int) -> None:
    if buckets < shards:
        raise ShardMapError(f"{buckets} buckets cannot be shared by {shards} shards")
    connection.execute("INSERT INTO cluster (shard, buckets) VALUES (%s, %s)", (number, buckets))
    connection.execute(
        "INSERT INTO shard_map (bucket, shard)"
        " SELECT b, b * %s / %s FROM generate_series(0, %s - 1) b",
        (shards, buckets, buckets),
    )
    connection.execute(
        "INSERT INTO owned_buckets (bucket) SELECT bucket FROM shard_map WHERE shard = %s",
        (number,),
    )
