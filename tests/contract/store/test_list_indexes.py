"""The indexes of lists: made, used, made again when cut off, and gone with their declaration."""

import asyncio
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from service.embedded import EmbeddedStack
from service.model.query import parse_attributes
from service.settings import Database
from service.store.migrate import migrate
from tests.fixtures.bulk import own_database
from tests.fixtures.lists import ListService, content, rows_of
from tests.fixtures.stack import execute

Connection = psycopg.Connection[tuple[Any, ...]]
_NAMES = "list_indexes"


@pytest.fixture
def url(stack: EmbeddedStack) -> Iterator[str]:
    """An empty database of the test's own."""
    server = stack.shards[0][0]
    execute(server, f"CREATE DATABASE {_NAMES} TEMPLATE template0")
    yield own_database(server, _NAMES)
    execute(server, f"DROP DATABASE {_NAMES} WITH (FORCE)")


def _migrate(url: str, *attributes: str, buckets: int = 2) -> list[str]:
    said: list[str] = []
    database = Database(shards=((url,),), buckets=buckets)
    migrate(database, said.append, parse_attributes(attributes))
    return said


def _fill(connection: Connection, count: int) -> None:
    connection.execute(
        "INSERT INTO items SELECT gen_random_uuid(), 'a', jsonb_build_object('rank', n, 'tag', n),"
        " 1, now(), now() FROM generate_series(1, %s) n",
        (count,),
    )
    connection.execute("ANALYZE")


def _indexes(connection: Connection, table: str = "items") -> dict[str, bool]:
    rows = connection.execute(
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = %s::regclass AND pg_get_indexdef(i.indexrelid) LIKE %s",
        (table, "%WHERE ((data IS NOT NULL) AND (collection %"),
    ).fetchall()
    return dict(rows)


def test_declared_attributes_get_indexes_and_lose_them(url: str) -> None:
    _migrate(url, "rank")
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, 1000)
        first = _indexes(connection)
        assert len(first) == 9
        said = _migrate(url, "rank", "size.width")
        assert sum("index " in line for line in said) == 2
        second = _indexes(connection)
        assert set(first) < set(second)
        assert len(second) == 10
        for table in ("items", "items_0000", "items_0001"):
            found = _indexes(connection, table)
            assert len(found) == 10
            assert all(found.values())
        assert _migrate(url, "rank", "size.width") == ["shard 0: 0 migrations applied"]
        _migrate(url)
        assert set(_indexes(connection)) == {n for n in first if "attribute" not in n}
        assert len(_indexes(connection, "items_0000")) == 8


def test_a_new_partition_has_them_all(url: str) -> None:
    _migrate(url, "rank")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE items_0001")
        _migrate(url, "rank")
        assert len(_indexes(connection, "items_0001")) == 9
        assert all(_indexes(connection).values())


def test_an_interrupted_index_is_rebuilt(url: str) -> None:
    _migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, 1000)
        before = set(_indexes(connection))
        _migrate(url, "rank")
        (added,) = set(_indexes(connection)) - before
        child = f"items_0000_{added.removeprefix('items_list_')}"
        definition = connection.execute("SELECT pg_get_indexdef(%s::regclass)", (child,)).fetchone()
        assert definition is not None
        connection.execute(f"DROP INDEX {added}")
        _leave_invalid(connection, definition[0])
        assert _indexes(connection, "items_0000")[child] is False
        _migrate(url, "rank")
        assert _indexes(connection, "items_0000")[child] is True
        assert _indexes(connection)[added] is True


def _leave_invalid(connection: Connection, definition: str) -> None:
    """Cancel a concurrent build while it waits for an older transaction."""
    with psycopg.connect(connection.info.dsn, password=connection.info.password) as older:
        older.execute("LOCK TABLE items_0000 IN ROW EXCLUSIVE MODE")
        connection.execute("SET statement_timeout = '500ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(
                definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY").encode()
            )
        connection.execute("SET statement_timeout = 0")
        older.rollback()


def test_two_migrations_at_once_end_well(url: str) -> None:
    _migrate(url, "tag")
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, 5000)
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(_migrate, url, "rank", "size.width") for _ in range(3)]:
            done.result(timeout=60)
    with psycopg.connect(url) as connection:
        assert len(_indexes(connection)) == 10
        assert all(_indexes(connection).values())
        assert len(_indexes(connection, "items_0001")) == 10


def test_writers_go_on_while_indexes_are_built(url: str) -> None:
    _migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, 20_000)

    async def both() -> int:
        building = asyncio.ensure_future(asyncio.to_thread(_migrate, url, "rank", "tag"))
        written = 0
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as writer:
            await writer.execute("SET lock_timeout = '10s'")
            while not building.done() or not written:
                await writer.execute(
                    "INSERT INTO items VALUES (gen_random_uuid(), 'b', '{}', 1, now(), now())"
                )
                written += 1
        await building
        return written

    assert asyncio.run(both()) > 0
    with psycopg.connect(url) as connection:
        assert all(_indexes(connection).values())


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "SELECT id FROM items WHERE data IS NOT NULL AND collection = 0 ORDER BY id LIMIT 9",
            "id",
        ),
        (
            "SELECT id FROM items WHERE data IS NOT NULL AND collection = 0"
            " AND owner_id = 'b' ORDER BY id LIMIT 9",
            "owner_id_id",
        ),
        (
            "SELECT id FROM items WHERE data IS NOT NULL AND collection = 0"
            " ORDER BY created_at DESC, id DESC LIMIT 9",
            "created_at_id",
        ),
        (
            "SELECT id FROM items WHERE data IS NOT NULL AND collection = 0"
            """ AND data @> '{"tag": 7}'""",
            "data",
        ),
    ],
)
def test_an_index_answers(url: str, query: str, index: str) -> None:
    _migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, 20_000)
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}".encode()))
    assert f"items_0000_{index}_idx" in plan
    assert "Seq Scan" not in plan


def test_no_value_is_too_large_for_its_index(lists: ListService) -> None:
    """What 1,000 bytes of JSON hold at most, in the forms that jsonb needs most bytes for."""
    rng = random.Random(7)
    shapes = [
        [rng.randrange(10) for _ in range(333)],
        [rng.randrange(10, 100) for _ in range(249)],
        [rng.randrange(100, 1000) for _ in range(199)],
        [[rng.randrange(10)] for _ in range(199)],
        [[[]] if rng.random() < 0.5 else [] for _ in range(190)],
        [rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(199)],
        [rng.choice([True, 1, "", None, [], {}]) for _ in range(170)],
        {chr(0x100 + n): rng.randrange(10) for n in range(110)},
        "".join(chr(rng.randrange(0x10000, 0x20000)) for _ in range(249)),
        "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(998)),
        int("".join(rng.choice("123456789") for _ in range(1000))),
    ]
    assert all(len(json.dumps(shape, ensure_ascii=False).encode()) <= 1000 for shape in shapes)
    lists.fill(rows_of(*[{"rank": shape} for shape in shapes]))
    found = content(lists.get("sort=rank&limit=100"))["items"]
    assert len(found) == len(shapes)


def test_pages_end_at_four_mebibytes(lists: ListService) -> None:
    noise = random.Random(1)
    large = ["".join(noise.choices("abcdefgh", k=700_000)), "x" * 700_000]
    lists.fill(rows_of(*[{"rank": n, "text": large[n % 2]} for n in range(40)]))
    for sort in ("id", "-rank"):
        seen: list[int] = []
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            assert pages <= 40
            page = content(lists.get(f"sort={sort}&limit=1000" + (cursor and f"&cursor={cursor}")))
            assert 1 <= len(page["items"]) <= 6
            seen += [entry["data"]["rank"] for entry in page["items"]]
            cursor, pages = page["next_cursor"], pages + 1
        assert seen == list(range(40))[:: 1 if sort == "id" else -1]
        assert pages == 7
    lists.fill([])


def test_a_list_that_takes_too_long_says_so(list_urls: list[str], lists: ListService) -> None:
    """Behind a lock it takes as long as it may, however fast the machine is."""
    lists.fill(rows_of({"rank": 1}))
    hurried = ListService(list_urls, timeout_s=0.5)
    try:
        assert hurried.get("filter[rank]=1").status == 200
        with psycopg.connect(list_urls[0]) as busy:
            busy.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
            reply = hurried.get("filter[rank]=1&filter[tag][contains]=y&limit=1000")
        assert reply.status == 503
        assert content(reply)["code"] == "query-too-expensive"
        assert dict(reply.headers)["retry-after"] == "1"
    finally:
        hurried.close()
        lists.fill([])


def test_a_list_needs_every_shard(list_urls: list[str], lists: ListService) -> None:
    lists.fill(rows_of({"rank": 1}))
    unreachable = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
    partly = ListService([*list_urls[:2], unreachable], timeout_s=1.0)
    try:
        reply = partly.get("")
        assert (reply.status, content(reply)["code"]) == (503, "shard-unavailable")
        assert dict(reply.headers)["retry-after"] == "1"
    finally:
        partly.close()
