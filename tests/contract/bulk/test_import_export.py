"""`hotshelf export` writes what `hotshelf import` read, digit for digit."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.bulk import Bulk, read_json
from tests.fixtures.catalog import CATALOG, CATALOG_ITEMS, catalog_lines
from tests.fixtures.stack import execute

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "service" / "sample" / "catalog.ndjson"


def test_the_sample_catalog_round_trip(bulk: Bulk) -> None:
    done = bulk.run("import", str(SAMPLE), "--owner", "sample")
    assert done.returncode == 0, done.stderr
    items = bulk.exported()
    # Some lines bring their id, the others are the data itself.
    lines = _lines(SAMPLE.read_bytes())
    assert [item["data"] for item in items] == [line.get("data", line) for line in lines]
    given = {line["id"] for line in lines if "id" in line}
    assert given <= {item["id"] for item in items}
    assert {item["owner_id"] for item in items} == {"sample"}
    shares = [execute(url, "SELECT count(*) FROM items")[0][0] for url in bulk.urls]
    assert all(shares)


def test_the_debian_catalog_round_trip(bulk: Bulk) -> None:
    done = bulk.run("import", str(CATALOG), "--owner", "debian")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"imported {CATALOG_ITEMS:,} items in ".encode())
    data = bulk.data()
    assert len(data) == CATALOG_ITEMS
    assert data == [read_json(line) for line in catalog_lines()]


@pytest.mark.parametrize(
    "second", [b"", b'{"id":"01JHXSAMP10000000000000000","data":{"again":1}}\n']
)
def test_ids_that_the_input_names_are_invalidated(bulk: Bulk, second: bytes) -> None:
    """Only such an id can be cached; with a duplicate, rows are stored by another statement."""
    for url in bulk.urls:
        execute(url, "TRUNCATE cache_outbox")
    named = b'{"id":"01JHXSAMP10000000000000000","data":{}}\n' + second
    bulk.run("import", "-", "--owner", "o", stdin=named + b'{"data":{"n":1}}\n{"n":2}\n')
    announced = [
        tuple(row)
        for url in bulk.urls
        for row in execute(url, "SELECT item_id, version, epoch FROM cache_outbox")
    ]
    stored = [
        tuple(row)
        for url in bulk.urls
        for row in execute(
            url,
            "SELECT id, version, cache_epoch(right(tableoid::regclass::text, 4)::integer)"
            " FROM items WHERE id::text LIKE '0194%'",
        )
    ]
    assert len(bulk.exported()) == 3
    assert len(stored) == 1
    assert stored[0] in announced
    if not second:
        assert announced == stored


def test_an_export_restores_every_member(bulk: Bulk) -> None:
    bulk.run("import", str(SAMPLE), "--owner", "sample")
    before = bulk.run("export").stdout
    for url in bulk.urls:
        execute(url, "TRUNCATE items")
    done = bulk.run("import", "-", "--owner", "someone", stdin=gzip.compress(before))
    assert done.returncode == 0, done.stderr
    assert bulk.run("export").stdout == before


def test_numbers_keep_every_digit(bulk: Bulk) -> None:
    text = (
        b'{"n":[12345678901234567890123456789.000000000000000000000000000010,1.10,'
        b"0.1000000000000000055511151231257827,-0.5,9007199254740993]}\n"
    )
    bulk.run("import", "-", "--owner", "o", stdin=text)
    exported = bulk.run("export").stdout
    for number in text[6:-3].split(b","):
        assert number in exported


def _lines(text: bytes) -> list[Any]:
    return [read_json(line) for line in text.splitlines()]
