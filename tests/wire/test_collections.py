"""Collections are made, changed and dropped over HTTP, and both workers know of it."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest

from service.embedded import EmbeddedStack
from service.store.indexes import BUILDING
from tests.fixtures.running import RunningService
from tests.fixtures.stack import execute
from tests.fixtures.wire import eventually

PATH = "/v1/collections"
NEW = {"if-none-match": "*"}
DEFAULTS: dict[str, object] = {
    "schema": None,
    "attributes": [],
    "read": "any",
    "write": "owner",
    "ttl_s": None,
    "max_bytes": None,
    "description": "",
}


@pytest.fixture
def operator(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("olga", "items:admin") as client:
        yield client


@pytest.fixture
def name(operator: httpx.Client) -> Iterator[str]:
    """A name that is free again after the test."""
    chosen = f"c-{uuid4().hex}"
    yield chosen
    answer = operator.delete(f"{PATH}/{chosen}?force", headers={"confirm-drop": chosen})
    assert answer.status_code in (204, 404)


def _problem(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    problem: dict[str, object] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    return problem


def test_it_is_made_read_changed_and_dropped(operator: httpx.Client, name: str) -> None:
    url = f"{PATH}/{name}"
    made = operator.put(url, json={"description": "What the shop sells"}, headers=NEW)
    assert made.status_code == 201, made.text
    assert made.headers["location"] == url
    assert made.json() | DEFAULTS == made.json() | {"description": ""}
    assert made.json()["name"] == name
    read = operator.get(url)
    assert read.status_code == 200
    assert (read.json(), read.headers["etag"]) == (made.json(), made.headers["etag"])
    current = {"if-none-match": read.headers["etag"]}
    assert operator.get(url, headers=current).status_code == 304
    # What was read can be sent as it is.
    this = {"if-match": read.headers["etag"]}
    changed = operator.put(url, json=read.json() | {"ttl_s": 60}, headers=this)
    assert (changed.status_code, changed.json()["ttl_s"]) == (200, 60)
    assert changed.json()["version"] > made.json()["version"]
    again = operator.put(url, json=read.json() | {"ttl_s": 60}, headers=this)
    assert (again.status_code, again.headers["etag"]) == (200, changed.headers["etag"])
    assert operator.delete(url, headers=this).status_code == 412
    assert operator.delete(url).status_code == 204
    _problem(operator.get(url), 404, "no-such-collection")
    _problem(operator.delete(url), 404, "no-such-collection")


def test_a_retry_with_the_same_key_changes_nothing(operator: httpx.Client, name: str) -> None:
    url, key = f"{PATH}/{name}", {"idempotency-key": "k-1"}
    first = operator.put(url, json={"ttl_s": 60}, headers=NEW | key)
    assert first.status_code == 201
    tag = {"if-match": first.headers["etag"]}
    assert operator.put(url, json={"ttl_s": 90}, headers=tag).status_code == 200
    again = operator.put(url, json={"ttl_s": 60}, headers=NEW | key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["location"] == first.headers["location"]
    assert operator.get(url).json()["ttl_s"] == 90
    other = operator.put(url, json={"ttl_s": 61}, headers=NEW | key)
    _problem(other, 422, "idempotency-key-reused")
    _problem(operator.delete(url, headers=key), 422, "idempotency-key-reused")
    drop = {"idempotency-key": "k-2"}
    gone = operator.delete(url, headers=drop)
    assert (gone.status_code, "idempotency-replayed" in gone.headers) == (204, False)
    for _ in range(2):
        retried = operator.delete(url, headers=drop)
        assert (retried.status_code, retried.headers["idempotency-replayed"]) == (204, "true")
        # One of that name which was made since stays.
        operator.put(url, json={"ttl_s": 7}, headers=NEW)
    assert operator.get(url).json()["ttl_s"] == 7


def test_a_refused_change_leaves_its_key_free(operator: httpx.Client, name: str) -> None:
    url, key = f"{PATH}/{name}", {"idempotency-key": "k", "if-match": "*"}
    _problem(operator.put(url, json={}, headers=key), 412, "precondition-failed")
    operator.put(url, json={"ttl_s": 1}, headers=NEW)
    changed = operator.put(url, json={}, headers=key)
    assert (changed.status_code, "idempotency-replayed" in changed.headers) == (200, False)


def test_keys_belong_to_their_callers(
    service: RunningService, operator: httpx.Client, name: str
) -> None:
    url, key = f"{PATH}/{name}", {"idempotency-key": "k", "if-match": "*"}
    operator.put(url, json={}, headers=NEW)
    with service.client("otto", "items:admin") as other:
        for client, ttl_s in ((operator, 5), (other, 6)):
            changed = client.put(url, json={"ttl_s": ttl_s}, headers=key)
            assert (changed.status_code, changed.json()["ttl_s"]) == (200, ttl_s)


def test_a_list_shows_all_but_their_schemas(operator: httpx.Client, name: str) -> None:
    operator.put(f"{PATH}/{name}", json={"schema": {"type": "object"}}, headers=NEW)
    listed = operator.get(PATH)
    assert listed.status_code == 200
    shown = {each["name"]: each for each in listed.json()["collections"]}
    assert list(shown) == sorted(shown)
    assert shown["items"]["version"] == 0
    assert "schema" not in shown[name]
    assert shown[name]["read"] == "any"


def test_every_worker_learns_of_a_change_by_itself(
    service: RunningService, operator: httpx.Client, name: str
) -> None:
    version = operator.put(f"{PATH}/{name}", json={}, headers=NEW).json()["version"]

    def workers() -> set[int]:
        """Those that have logged a version of the definitions that is as new."""
        lines = [orjson.loads(line) for line in service.log.read_bytes().splitlines() if line]
        return {
            line["worker"]
            for line in lines
            if line.get("event") == "collections" and line["version"] >= version
        }

    eventually(lambda: len(workers()) == 2)


def test_the_collection_of_the_settings_cannot_be_changed(operator: httpx.Client) -> None:
    shown = operator.get(f"{PATH}/items")
    assert shown.json() == {"name": "items", "version": 0, "updated_at": None} | DEFAULTS
    _problem(operator.put(f"{PATH}/items", json={}, headers=NEW), 409, "collection-fixed")
    _problem(operator.delete(f"{PATH}/items"), 409, "collection-fixed")


@pytest.mark.parametrize("scope", ["items:read items:write", "collections:read"])
def test_only_operators_may(service: RunningService, scope: str) -> None:
    with service.client("eve", scope) as client:
        for answer in (
            client.get(PATH),
            client.get(f"{PATH}/items"),
            client.put(f"{PATH}/products", json={}, headers=NEW),
            client.delete(f"{PATH}/products"),
        ):
            _problem(answer, 403, "insufficient-scope")
    assert httpx.get(f"{service.url}{PATH}").status_code == 401


@pytest.mark.parametrize("bad", ["Products", "a_b", "x" * 64, "docs", "collections", "v1", "1"])
def test_a_name_that_cannot_be_one_is_refused(operator: httpx.Client, bad: str) -> None:
    problem = _problem(
        operator.put(f"{PATH}/{bad}", json={}, headers=NEW), 400, "invalid-parameter"
    )
    assert problem["errors"][0]["parameter"] == "name"  # type: ignore[index]


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        (b'{"read":"all"}', 422, "invalid-content", "/read"),
        (b'{"colour":"red"}', 422, "invalid-content", "/colour"),
        (b'{"schema":{"type":"nothing"}}', 422, "invalid-content", "/schema"),
        (b'{"attributes":["a..b"]}', 422, "invalid-content", "/attributes/0"),
        (b'{"description":"\\u0000"}', 422, "invalid-content", "/description"),
        (b'{"ttl_s":1e400}', 422, "invalid-content", "/ttl_s"),
        (b'{"read":"any","read":"any"}', 400, "invalid-syntax", "/read"),
        (b"[]", 422, "invalid-content", ""),
        (b'{"name":"another"}', 409, "resource-mismatch", "/name"),
    ],
)
def test_a_definition_that_cannot_be_one_is_refused(
    operator: httpx.Client, name: str, body: bytes, status: int, code: str, pointer: str
) -> None:
    headers = NEW | {"content-type": "application/json"}
    problem = _problem(operator.put(f"{PATH}/{name}", content=body, headers=headers), status, code)
    assert [each["pointer"] for each in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    _problem(operator.get(f"{PATH}/{name}"), 404, "no-such-collection")


def test_a_change_needs_a_precondition_and_a_body_of_json(
    operator: httpx.Client, name: str
) -> None:
    url = f"{PATH}/{name}"
    _problem(operator.put(url, json={}), 428, "precondition-required")
    _problem(operator.put(url, content=b"{}", headers=NEW), 415, "unsupported-media-type")
    large = {"description": "x" * 70_000}
    _problem(operator.put(url, json=large, headers=NEW), 413, "body-too-large")
    operator.put(url, json={}, headers=NEW)
    refused = _problem(
        operator.put(url, json={"ttl_s": 1}, headers=NEW), 412, "precondition-failed"
    )
    assert refused["etag"] == operator.get(url).headers["etag"]


def test_lists_wait_for_the_index_of_a_new_attribute(
    service: RunningService, operator: httpx.Client, name: str, stack: EmbeddedStack
) -> None:
    listed = f"{service.url}/v1/{name}?sort=price"
    with psycopg.connect(stack.shards[0][0], autocommit=True) as builder:
        # No worker builds meanwhile.
        builder.execute("SELECT pg_advisory_lock(%s)", (BUILDING,))
        operator.put(f"{PATH}/{name}", json={"attributes": ["price"]}, headers=NEW)
        operator.headers["connection"] = "close"

        def refused() -> bool:
            return bool(operator.get(listed).json().get("code") == "not-yet-indexed")

        eventually(refused)
        problem = operator.get(listed).json()
        while problem["code"] == "no-such-collection":  # from the other worker
            problem = operator.get(listed).json()
        assert (problem["code"], problem["total"]) == ("not-yet-indexed", 16)
        assert problem["errors"] == [{"detail": "has no index yet", "parameter": "sort"}]
        other = f"{service.url}/v1/{name}?sort=-created_at"
        eventually(lambda: operator.get(other).status_code == 200)
        [progress] = operator.get(f"{PATH}/{name}/indexes").json()["indexes"]
        assert progress["done"] <= 8
        builder.execute("SELECT pg_advisory_unlock(%s)", (BUILDING,))
    eventually(lambda: operator.get(listed).status_code == 200)
    progress = operator.get(f"{PATH}/{name}/indexes").json()["indexes"]
    assert progress == [{"attribute": "price", "done": 16, "total": 16}]


def test_force_needs_the_name_once_more(operator: httpx.Client, name: str) -> None:
    operator.put(f"{PATH}/{name}", json={}, headers=NEW)
    for headers in ({}, {"confirm-drop": "products"}):
        problem = _problem(
            operator.delete(f"{PATH}/{name}?force=true", headers=headers), 400, "invalid-header"
        )
        assert problem["errors"][0]["header"] == "confirm-drop"  # type: ignore[index]
    _problem(operator.delete(f"{PATH}/{name}?force=yes"), 400, "invalid-parameter")
    assert operator.get(f"{PATH}/{name}").status_code == 200
    dropped = operator.delete(f"{PATH}/{name}?force", headers={"confirm-drop": name})
    assert dropped.status_code == 204


def test_a_collection_with_items_is_dropped_only_by_force(
    operator: httpx.Client, name: str, stack: EmbeddedStack
) -> None:
    operator.put(f"{PATH}/{name}", json={}, headers=NEW)
    execute(
        stack.shards[0][0],
        f"""INSERT INTO items (id, owner_id, data, version, created_at, updated_at, collection)
            SELECT id, 'alice', '{{}}', 1, now(), now(),
                   (SELECT number FROM collections WHERE name = '{name}')
              FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 500)) AS ids
             WHERE EXISTS (SELECT FROM owned_buckets
                            WHERE satisfies_hash_partition('items'::regclass, 16, bucket, id))
             LIMIT 1""",
    )
    _problem(operator.delete(f"{PATH}/{name}"), 409, "collection-not-empty")
    assert operator.get(f"{PATH}/{name}").status_code == 200
    url = f"{PATH}/{name}?force"
    assert operator.delete(url, headers={"confirm-drop": name}).status_code == 204


def test_the_openapi_document_follows(
    service: RunningService, operator: httpx.Client, name: str
) -> None:
    url = f"{service.url}/openapi.json"
    before = httpx.get(url)
    operator.put(f"{PATH}/{name}", json={"attributes": ["price"]}, headers=NEW)
    path = f"/v1/{name}/{{id}}"
    eventually(lambda: path in httpx.get(url).json()["paths"])
    after = httpx.get(url)
    while path not in after.json()["paths"]:  # from the other worker
        after = httpx.get(url)
    assert after.headers["etag"] != before.headers["etag"]
    assert f"Search-{name}" in after.json()["components"]["schemas"]
    current = {"if-none-match": after.headers["etag"]}
    eventually(lambda: httpx.get(url, headers=current).status_code == 304)
    plain = httpx.get(url, headers={"accept-encoding": "identity"})
    assert plain.headers["etag"] != after.headers["etag"]
