"""`hotshelf import` holds data to the installation's schema, and says which line does not match."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.bulk import Bulk

SCHEMA = {
    "required": ["name"],
    "properties": {"name": {"maxLength": 5}, "n": {"multipleOf": 3}, "a/b": {"items": False}},
}
LINES = b"""\
{"name":"pot"}

{"name":"teapot"}
{"data":{"name":"pan","n":4}}
{"data":{"name":"cup","n":123456789012345678901234567890}}
{"no":1}
  \t
{"name":"a","a/b":[1]}
{"name":
{"name":"last"}"""


@pytest.fixture
def schema(bulk: Bulk) -> Path:
    file = bulk.folder / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    (bulk.folder / "schema.toml").write_text(f'[data]\nschema = "{file}"\n')
    return file


def _import(bulk: Bulk, text: bytes, *more: str) -> list[Any]:
    command = ("import", bulk.file("in", text), "--owner", "o", "--rejects", "rejects")
    done = bulk.run(*command, "--config", "schema.toml", *more)
    assert done.returncode == 1, done.stderr
    return [(r["line"], r["reason"], r["pointer"]) for r in bulk.rejects()]


def test_lines_that_do_not_match_are_rejected_and_the_others_stored(
    bulk: Bulk, schema: Path
) -> None:
    assert _import(bulk, LINES) == [
        (3, "schema", "/name"),
        (4, "schema", "/data/n"),
        (6, "schema", ""),
        (8, "schema", "/a~1b/0"),
        (9, "syntax", ""),
    ]
    assert sorted(data["name"] for data in bulk.data()) == ["cup", "last", "pot"]


def test_bare_lines_and_csv(bulk: Bulk, schema: Path) -> None:
    text = b'{"name":"x","data":{}}\n{"data":{"name":"x"}}\n'
    assert _import(bulk, text, "--bare") == [(2, "schema", "")]
    text = b"name,n\npot,3\npan,4\n"
    assert _import(bulk, text, "--format", "csv") == [(3, "schema", "/n")]
    assert len(bulk.data()) == 2


def test_without_a_schema_and_with_a_broken_one(bulk: Bulk, schema: Path) -> None:
    done = bulk.run("import", bulk.file("in", b'{"no":1}\n'), "--owner", "o")
    assert done.returncode == 0, done.stderr
    schema.write_text("{")
    broken = bulk.run("import", "in", "--owner", "o", "--config", "schema.toml")
    assert broken.returncode != 0
    assert b"data.schema" in broken.stderr
    assert len(bulk.data()) == 1
