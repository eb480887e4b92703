"""Checks a PostgreSQL server before anything is stored there."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row

from service.model.finding import Finding, Level
from service.settings import Database
from service.store.connection import conninfo

_VERSION_MIN = 150000
_COLLATIONS = ("C", "C.UTF-8", "C.utf8", "POSIX")
_AT_ONCE = 16

_COLLATION = "coalesce(datlocale, datcollate)"
_COLLATION_BEFORE_17 = "datcollate"
_TRAITS = """
    SELECT current_setting('server_version_num')::integer AS version,
           pg_encoding_to_char(encoding) AS encoding, {collation} AS collation,
           pg_is_in_recovery() AS replica,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('fsync') AS fsync,
           current_setting('full_page_writes') AS full_page_writes,
           to_regclass('schema_migrations') IS NOT NULL AS migrated,
           (SELECT count(*) FROM pg_class
             WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
           )::integer AS tables
      FROM pg_database WHERE datname = current_database()"""


class Traits(NamedTuple):
    """Properties of a database. ``tables`` counts those of its schema, ours or not."""

    version: int
    encoding: str
    collation: str
    replica: bool
    synchronous_commit: str
    fsync: str
    full_page_writes: str
    migrated: bool
    tables: int


def migration_names() -> list[str]:
    """The numbered SQL files, in order."""
    folder = files("service.store") / "migrations"
    return sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))


def traits_of(connection: Connection[Any]) -> Traits:
    """Query them; not within a transaction that the caller continues."""
    new = connection.info.server_version >= 170000
    query = _TRAITS.format(collation=_COLLATION if new else _COLLATION_BEFORE_17)
    with connection.cursor(row_factory=class_row(Traits)) as cursor:
        found = cursor.execute(query.encode()).fetchone()
    assert found is not None
    return found


def refusal(traits: Traits) -> str:
    """Why nothing may be stored there; "" if it is suitable."""
    if traits.version < _VERSION_MIN:
        return f"PostgreSQL {traits.version // 10000} is too old; 15 or newer is needed"
    if traits.encoding != "UTF8":
        return (
            f"the database's encoding is {traits.encoding}, which would garble text; recreate it: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    if traits.collation not in _COLLATIONS:
        # Because text is compared by code point everywhere; another collation would sort indexes
        # differently.
        return (
            f"the database's default collation is {traits.collation}; create it with C or C.UTF-8"
        )
    return ""


def examine(settings: Database) -> list[Finding]:
    """Check all nodes of all shards concurrently; each takes at most its connection timeout."""
    nodes = [
        (f"shard {number}, node {at} ({_where(url)})", url)
        for number, urls in enumerate(settings.shards)
        for at, url in enumerate(urls)
    ]
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(nodes)))) as pool:
        found = pool.map(lambda node: list(_examine(node[0], node[1], settings)), nodes)
        return [finding for findings in found for finding in findings]


def _examine(name: str, url: str, settings: Database) -> Iterator[Finding]:
    try:
        with psycopg.connect(conninfo(url, settings), autocommit=True) as connection:
            traits = traits_of(connection)
            missing = [] if traits.replica else _missing_migrations(connection, traits)
    except psycopg.Error as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        yield Finding(name, Level.UNREACHED, lines[-1])
        return
    reason = refusal(traits)
    if not reason and missing:
        reason = f"{len(missing)} migrations are not applied; run `hotshelf migrate`"
    if reason:
        yield Finding(name, Level.ERROR, reason)
    else:
        role = "replica" if traits.replica else "primary"
        version = f"{traits.version // 10000}.{traits.version % 10000}"
        text = f"PostgreSQL {version}, {role}, {traits.encoding}, collation {traits.collation}"
        yield Finding(name, Level.OK, text)
    for warning in _warnings(traits):
        yield Finding(name, Level.WARNING, warning)


def _missing_migrations(connection: Connection[Any], traits: Traits) -> Sequence[str]:
    if not traits.migrated:
        return migration_names()
    done = {row[0] for row in connection.execute("SELECT name FROM schema_migrations")}
    return [name for name in migration_names() if name not in done]


def _warnings(traits: Traits) -> Iterator[str]:
    if traits.fsync == "off":
        yield "fsync is off: a crash of the machine may lose or corrupt acknowledged writes"
    if traits.full_page_writes == "off":
        yield "full_page_writes is off: a crash of the machine may corrupt pages"
    if traits.synchronous_commit == "off":
        yield "synchronous_commit is off by default; Hotshelf's own connections turn it on"
    if traits.tables and not traits.migrated:
        yield f"the database already has {traits.tables} tables; give Hotshelf one of its own"


def _where(url: str) -> str:
    parts = conninfo_to_dict(url)
    return f"{parts.get('host', 'local')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
