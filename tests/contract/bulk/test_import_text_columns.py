"""Codes that look like numbers: kept as they are where their columns are named as text."""

import json

import pytest

from tests.fixtures.bulk import Bulk

CSV = """\
sku,handle,price
1001,null,1.50
12E4,true,2
0042,mug,3
1E5,,4
"""
ITEMS = [("1001", "null", 1.5), ("12E4", "true", 2), ("0042", "mug", 3), ("1E5", None, 4)]


def _import(bulk: Bulk, *more: str) -> int:
    command = ("import", bulk.file("in.csv", CSV.encode()), "--owner", "o", *more)
    done = bulk.run(*command, "--rejects", "rejects")
    assert b"Traceback" not in done.stderr
    return done.returncode


def _expected() -> list[dict[str, object]]:
    items = []
    for sku, handle, price in ITEMS:
        item = {"sku": sku, "price": price}
        items.append(item if handle is None else item | {"handle": handle})
    return items


@pytest.mark.parametrize("columns", ["sku,handle", " handle , sku"])
def test_named_columns_are_text(bulk: Bulk, columns: str) -> None:
    assert _import(bulk, "--text-columns", columns) == 0
    assert bulk.data() == _expected()


def test_all_columns_are_text(bulk: Bulk) -> None:
    assert _import(bulk, "--text-columns", "*") == 0
    skus = [item["sku"] for item in bulk.data()]
    assert skus == [sku for sku, _, _ in ITEMS]
    assert [item["price"] for item in bulk.data()] == ["1.50", "2", "3", "4"]


def test_a_schema_that_wants_text_is_satisfied(bulk: Bulk) -> None:
    schema = bulk.folder / "schema.json"
    schema.write_text(json.dumps({"properties": {"sku": {"type": "string"}}}))
    (bulk.folder / "schema.toml").write_text(f'[data]\nschema = "{schema}"\n')
    assert _import(bulk, "--config", "schema.toml", "--text-columns", "sku") == 0
    assert len(bulk.data()) == 4


def test_a_column_that_is_not_there_ends_the_import(bulk: Bulk) -> None:
    assert _import(bulk, "--text-columns", "sku,size") == 2
    assert bulk.data() == []
