"""`--collection` of import, export and seed: into it, out of it, and by its rules."""

import json
from typing import Any

import psycopg
import pytest

from service.settings import Database
from service.store.copy import Checked, CopyFailed, ShardWriter, encode_row, row_head
from tests.fixtures.bulk import Bulk
from tests.fixtures.stack import execute

LINES = b'{"name":"pot"}\n{"name":"teapot"}\n{"no":1}\n{"name":"' + b"x" * 70 + b'"}\n'


@pytest.fixture
def products(bulk: Bulk) -> Bulk:
    for url in bulk.urls:
        execute(url, "TRUNCATE collections")
    schema = bulk.file("schema.json", b'{"required":["name"]}')
    words = ("create", "products", "--schema", schema, "--max-bytes", "60")
    assert bulk.run("collections", *words).returncode == 0
    return bulk


def _exported(bulk: Bulk, *words: str) -> list[Any]:
    done = bulk.run("export", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_lines_are_imported_and_exported_by_collection(products: Bulk) -> None:
    file = products.file("in.ndjson", LINES)
    words = ("import", file, "--owner", "o", "--rejects", "rejects", "--collection", "products")
    assert products.run(*words).returncode == 1
    rejected = [(each["line"], each["detail"]) for each in products.rejects()]
    assert rejected == [
        (3, 'violates the schema: "name" is a required property'),
        (4, "has more than 60 bytes"),
    ]
    exported = _exported(products, "--collection", "products")
    assert sorted(item["data"]["name"] for item in exported) == ["pot", "teapot"]
    assert _exported(products) == []
    # What was exported is the same after a way back.
    for url in products.urls:
        execute(url, "TRUNCATE items")
    back = products.file("back.ndjson", b"".join(json.dumps(i).encode() + b"\n" for i in exported))
    again = ("import", back, "--owner", "o", "--collection", "products")
    assert products.run(*again).returncode == 0
    assert _exported(products, "--collection", "products") == exported


def test_a_catalog_is_seeded_beside_that_of_items(products: Bulk) -> None:
    seed = ("seed", "--items", "300", "--bytes", "300")
    assert products.run(*seed).returncode == 0
    assert products.run("collections", "update", "products", "--max-bytes", "none").returncode == 0
    done = products.run(*seed, "--collection", "products")
    assert (done.returncode, b"existed already" in done.stderr) == (0, False), done.stderr
    ids = {item["id"] for item in _exported(products, "--collection", "products")}
    assert len(ids) == 300
    assert ids.isdisjoint(item["id"] for item in _exported(products))


def test_an_unknown_collection_is_said(products: Bulk) -> None:
    for words in (("export",), ("seed", "--items", "1"), ("import", "-", "--owner", "o")):
        done = products.run(*words, "--collection", "nothing")
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"There is no collection of this name." in done.stderr


def test_rows_that_an_older_definition_let_pass_are_not_stored(products: Bulk) -> None:
    settings = Database(shards=tuple((url,) for url in products.urls))
    with psycopg.connect(products.urls[0]) as connection:
        [(number, version)] = connection.execute(
            "SELECT number, version FROM collections WHERE name = 'products'"
        ).fetchall()
        [(moment,)] = connection.execute("SELECT now()").fetchall()
    assert products.run("collections", "update", "products", "--ttl", "60").returncode == 0
    row = encode_row(bytes(16), row_head(b"o", 1, moment, moment, number), b'{"name":"pot"}')
    writer = ShardWriter(0, settings.shards[0], settings, "late", Checked(number, version))
    try:
        writer.begin("hash", bytes(16))
        with pytest.raises(CopyFailed, match="has changed"):
            writer.store(row, [1], [], 1, lambda _: None)
        assert writer.begin("hash", bytes(16)).line == 0
    finally:
        writer.close()
    assert _exported(products, "--collection", "products") == []
