"""`hotshelf collections`: from the command line to the databases and back."""

import json

from tests.fixtures.bulk import Bulk
from tests.fixtures.stack import execute

_ITEMS = """
    INSERT INTO items (id, owner_id, data, version, created_at, updated_at, collection)
    SELECT id, 'alice', jsonb_build_object('n', n), 1, now(), now(), {number}
      FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, 40) AS n) AS made
     WHERE EXISTS (SELECT FROM owned_buckets
                    WHERE satisfies_hash_partition('items'::regclass, 16, bucket, id))"""
_BREAKING = "SELECT count(*) FROM items WHERE collection = 1 AND (data ->> 'n')::integer > 20"


def _text(bulk: Bulk, *words: str, status: int = 0) -> str:
    done = bulk.run("collections", *words)
    assert done.returncode == status, done.stderr
    return done.stdout.decode()


def _said(bulk: Bulk, *words: str, status: int = 2) -> str:
    done = bulk.run("collections", *words)
    assert (done.returncode, done.stdout) == (status, b""), done
    return done.stderr.decode()


def _none(bulk: Bulk) -> None:
    for url in bulk.urls:
        execute(url, "TRUNCATE collections")


def test_a_collection_is_made_changed_listed_shown_and_dropped(bulk: Bulk) -> None:
    _none(bulk)
    schema = bulk.file("schema.json", b'{"type":"object","required":["name"]}')
    words = ("--schema", schema, "--attributes", "price,name", "--read", "owner", "--ttl", "60")
    made = json.loads(_text(bulk, "create", "products", *words))
    assert made["schema"] == {"type": "object", "required": ["name"]}
    assert (made["attributes"], made["read"], made["ttl_s"]) == (["price", "name"], "owner", 60)
    changed = json.loads(_text(bulk, "update", "products", "--ttl", "none", "--write", "any"))
    assert changed == made | {
        "ttl_s": None,
        "write": "any",
        "version": 2,
        "updated_at": changed["updated_at"],
    }
    shown = json.loads(_text(bulk, "show", "products"))
    parts = [{"attribute": a, "done": 0, "total": 16} for a in ("name", "price")]
    assert shown == changed | {"indexes": parts}
    listed = [line.split("\t") for line in _text(bulk, "list").splitlines()]
    assert listed == [
        ["items", "0", "any", "owner", "-", "-"],
        ["products", "2", "owner", "any", "price,name", changed["updated_at"]],
    ]
    assert _text(bulk, "drop", "products") == ""
    assert "There is no collection of this name." in _said(bulk, "show", "products")


def test_what_is_wrong_is_said(bulk: Bulk) -> None:
    _none(bulk)
    assert "reserved" in _said(bulk, "create", "docs")
    assert "ttl_s is neither null nor a whole number" in _said(bulk, "create", "a", "--ttl", "1h")
    wrong = bulk.file("wrong.json", b'{"type":"nothing"}')
    assert "schema is not a JSON Schema" in _said(bulk, "create", "a", "--schema", wrong)
    assert "missing.json" in _said(bulk, "create", "a", "--schema", "missing.json")
    assert "defined by settings" in _said(bulk, "drop", "items")
    _text(bulk, "create", "a")
    assert "not in a state" in _said(bulk, "create", "a", "--ttl", "5")


def test_items_that_break_a_schema_are_counted_before_and_listed_after(bulk: Bulk) -> None:
    _none(bulk)
    _text(bulk, "create", "numbers")
    for url in bulk.urls:
        execute(url, _ITEMS.format(number=1))
    stored = sum(int(str(execute(url, "SELECT count(*) FROM items")[0][0])) for url in bulk.urls)
    breaking = sum(int(str(execute(url, _BREAKING)[0][0])) for url in bulk.urls)
    assert breaking > 10
    schema = bulk.file("small.json", b'{"properties":{"n":{"maximum":20}}}')
    checked = bulk.run("collections", "update", "numbers", "--schema", schema, "--check")
    assert checked.returncode == 1
    assert f"{breaking} of {stored} items break the schema" in checked.stderr.decode()
    assert len(checked.stdout.splitlines()) == 10
    assert json.loads(_text(bulk, "show", "numbers"))["schema"] is None
    _text(bulk, "update", "numbers", "--schema", schema)
    listed = _text(bulk, "check", "numbers", status=1).splitlines()
    assert len(listed) == breaking
    assert {tuple(line.split("\t")[1:]) for line in listed} == {
        ("/data/n", "violates the schema: the value is greater than the maximum of 20")
    }
    assert "holds items" in _said(bulk, "drop", "numbers")
    _text(bulk, "drop", "numbers", "--force")
