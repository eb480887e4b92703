"""A database of a release without collections goes on as it was: rows, tags, records, cursors."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service import native
from service.embedded import EmbeddedStack, Stack
from service.items.cursor import Cursors
from service.model.errors import Location
from service.model.query import Condition, Position, Query, Sort
from service.settings import Database
from service.store import migrate as migrating
from service.store.examine import migration_names
from tests.fixtures.databases import empty_databases
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import execute

# As releases before wrote them.
DATA, TAG = '{"name": "kettle", "price": 19.90}', '"3-fbbc7825"'
CREATED = "2026-01-02T03:04:05.678901Z"
CURSOR = "UG7_DCBLlR3bjsfpeTgLKgQAAQIDBAUGBwgJCgsMDQ4PMTkuOTA"
ITEM = "01890000-0000-7000-8000-000000000001"
INDEXES = {
    "living": "(id)",
    "owner": "(owner_id, id)",
    "created": "(created_at, id)",
    "data": "USING gin (data jsonb_path_ops)",
}


def test_cursors_stay_valid() -> None:
    async def secret() -> bytes:
        return b"s" * 32

    async def read() -> Position:
        cursors = Cursors(secret)
        await cursors.open()
        condition = Condition(("a",), "eq", ("1",), Location(""))
        query = Query((condition,), Sort(("price",), descending=True))
        return cursors.decode(CURSOR, query, "alice", Location(""))

    assert asyncio.run(read()) == Position("19.90", bytes(range(16)))


@pytest.fixture
def before(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database as the release before collections migrated and filled it."""
    with empty_databases(stack) as [[primary, *_]], monkeypatch.context() as patched:
        names = [name for name in migration_names() if name < "0008"]
        patched.setattr(migrating, "migration_names", lambda: names)
        for function in ("declare_indexes", "build_indexes", "drop_indexes"):
            patched.setattr(migrating, function, lambda *_: None)
        database = Database(shards=((primary,),))
        migrating.migrate(database)
        for label, columns in INDEXES.items():
            execute(
                primary,
                f"CREATE INDEX items_list_{label}_0 ON items {columns} WHERE data IS NOT NULL",
            )
        execute(
            primary,
            f"INSERT INTO items VALUES ('{ITEM}', 'alice', '{DATA}', 3, '{CREATED}', now(), NULL)",
        )
        execute(
            primary,
            "INSERT INTO items SELECT gen_random_uuid(), 'bob', jsonb_build_object('n', n), 1,"
            " now(), now(), NULL FROM generate_series(1, 3000) AS n",
        )
        patched.undo()
        yield database


def test_an_upgrade_under_load_loses_nothing_and_changes_no_tag(
    stack: EmbeddedStack, before: Database, tmp_path: Path
) -> None:
    url = before.shards[0][0]
    _record(url, before.buckets)
    done = threading.Event()
    written: list[int] = []

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not done.is_set() or not written:
                connection.execute(
                    "INSERT INTO items (id, owner_id, data, version, created_at, updated_at)"
                    " VALUES (gen_random_uuid(), 'carol', '{}', 1, now(), now())"
                )
                connection.execute(
                    "UPDATE items SET data = '{}', version = version + 1 WHERE owner_id = 'dora'"
                )
                written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        running = start_service(
            Stack([[url]], stack.redis_url),
            tmp_path,
            HOTSHELF_DATABASE_BUCKETS=str(before.buckets),
        )
    finally:
        done.set()
        writer.join()
    try:
        _check_unchanged(running, len(written))
        old = execute(url, "SELECT count(*) FROM pg_class WHERE relname ~ '^items_list_.*_0$'")
        assert old == [(0,)]
    finally:
        assert running.stop() == 0


def _check_unchanged(running: RunningService, loaded_items: int) -> None:
    with running.client() as client:
        [kept, *_] = client.get("/v1/items?filter[name]=kettle").json()["items"]
        assert (kept["etag"], kept["version"]) == (TAG, 3)
        path = f"/v1/items/{kept['id']}"
        for _ in range(3):
            read = client.get(path)
            assert (read.status_code, read.headers["etag"]) == (200, TAG)
        assert client.get(path, headers={"if-none-match": TAG}).status_code == 304
        listed = client.get("/v1/items?filter[owner_id]=bob", headers={"prefer": "count=exact"})
        assert listed.json()["total"] == 3000
        loaded = client.get("/v1/items?filter[owner_id]=carol", headers={"prefer": "count=exact"})
        assert loaded.json()["total"] == loaded_items
        headers = {"idempotency-key": "before", "content-type": "application/json"}
        replayed = client.post("/v1/items", content=BODY, headers=headers)
        assert replayed.headers["idempotency-replayed"] == "true"
        changed = client.put(path, json={"data": {}}, headers={"if-match": TAG})
        assert (changed.status_code, changed.json()["version"]) == (200, 4)


BODY = b'{"data":{"n":1}}'


def _record(url: str, buckets: int) -> None:
    """What became of a POST with the key ``before``, as its release recorded it."""
    parts = ("POST", "1", "", "", "application/json", "", "", "")
    fingerprint = hashlib.sha256("\0".join(parts).encode() + BODY).hexdigest()
    bucket = native.hash_bytes([b"alice", b"before"]) % buckets
    execute(
        url,
        "INSERT INTO idempotency_keys (bucket, caller, scope, key, fingerprint, outcome, item_id,"
        "  version, item_created_at, data_hash, recorded_at)"
        f" VALUES ({bucket}, 'alice', '', 'before', '\\x{fingerprint}', 'created', '{ITEM}', 1,"
        """  now(), hashtextextended('{"n": 1}', 0), now())""",
    )
