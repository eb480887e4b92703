"""The checks of a PostgreSQL server before anything is stored there, and of each connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from service.embedded import EmbeddedStack
from service.model.errors import ShardUnavailable
from service.model.finding import Level
from service.settings import Database
from service.store.examine import examine
from service.store.migrate import MigrationError, connect_primary, migrate
from service.store.reads import Reads
from service.store.shards import Shard
from tests.fixtures.databases import empty_databases
from tests.fixtures.reading import database, run
from tests.fixtures.stack import eventually, execute


@contextmanager
def encoded(stack: EmbeddedStack, encoding: str) -> Iterator[Database]:
    """One empty database of that encoding on the first primary."""
    primary, name = stack.shards[0][0], f"test_{uuid4().hex}"
    execute(
        primary,
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    url = urlunsplit(urlsplit(primary)._replace(path=f"/{name}"))
    yield Database(shards=((url,),), timeout_s=1.0)
    execute(primary, f"DROP DATABASE {name} WITH (FORCE)")


def _shared(stack: EmbeddedStack) -> Database:
    """The stack's own databases, in as many buckets as all tests of one worker expect there."""
    return database(stack, buckets=Database().buckets)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_would_garble_text_is_refused(stack: EmbeddedStack, encoding: str) -> None:
    with encoded(stack, encoding) as settings:
        with pytest.raises(MigrationError, match=f"encoding is {encoding}.*ENCODING 'UTF8'"):
            migrate(settings)
        finding, *_ = examine(settings)
        assert finding.level is Level.ERROR
        assert encoding in finding.text

        async def is_of_no_use(shard: Shard, _: Reads) -> None:
            with pytest.raises(ShardUnavailable):
                async with shard.primary():
                    pytest.fail("a worker has a connection to it")

        run(settings, is_of_no_use)


def test_findings_describe_a_server_in_words(stack: EmbeddedStack) -> None:
    with empty_databases(stack) as shards:
        settings = Database(shards=tuple(map(tuple, shards)))
        before = [f for f in examine(settings) if f.level is Level.ERROR]
        assert [f.text.partition(" ")[2] for f in before] == [
            "migrations are not applied; run `hotshelf migrate`"
        ]
        migrate(settings)
        findings = [str(f) for f in examine(settings)]
        [primary] = [text for text in findings if ": ok: " in text and "primary" in text]
        [replica] = [text for text in findings if ": ok: " in text and "replica" in text]
        assert primary.startswith("shard 0, node 0 (127.0.0.1:")
        assert primary.endswith("primary, UTF8, collation C")
        assert replica.startswith("shard 0, node 1 (")
        assert "hotshelf@" not in "".join(findings)
        gone = replace(settings, shards=(("postgresql://127.0.0.1:1/none",),))
        assert [f.level for f in examine(gone)] == [Level.UNREACHED]


@contextmanager
def commits(stack: EmbeddedStack, value: str) -> Iterator[None]:
    """``synchronous_commit`` of the server, as one operator sets it for all that runs there."""
    primary = stack.shards[0][0]
    execute(primary, f"ALTER SYSTEM SET synchronous_commit = {value}")
    execute(primary, "SELECT pg_reload_conf()")
    eventually(primary, "SHOW synchronous_commit", value)
    try:
        yield
    finally:
        execute(primary, "ALTER SYSTEM RESET synchronous_commit")
        execute(primary, "SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("default", "ours"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
def test_no_connection_commits_asynchronously(
    stack: EmbeddedStack, default: str, ours: str, caplog: pytest.LogCaptureFixture
) -> None:
    migrate(_shared(stack))

    async def commits_of(shard: Shard) -> str:
        async with shard.primary() as connection:
            [[value]] = await (await connection.execute("SHOW synchronous_commit")).fetchall()
            return str(value)

    async def before(shard: Shard, _: Reads) -> None:
        assert await commits_of(shard) == "on"
        with commits(stack, default):
            # A connection from before the reload keeps what it has.
            assert await commits_of(shard) == "on"

    async def after(shard: Shard, _: Reads) -> None:
        assert await commits_of(shard) == ours

    run(_shared(stack), before)
    with commits(stack, default):
        run(_shared(stack), after)
        with connect_primary(0, stack.shards[0], _shared(stack)) as connection:
            assert connection.execute("SHOW synchronous_commit").fetchone() == (ours,)
        warned = [f.text for f in examine(_shared(stack)) if f.text.startswith("synchronous")]
        assert bool(warned) == (default == "off")
    assert ("synchronous_commit is off" in caplog.text) == (default == "off")
