"""Items of collections over HTTP: each under its own URL, by the rules of its definition."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.fixtures.made_collections import ALL, codes, made, post
from tests.fixtures.running import RunningService

V2 = {"accept": "application/vnd.api+json"}


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("alice", ALL) as client:
        yield client


@pytest.fixture(scope="module")
def products(service: RunningService) -> str:
    return made(service)


def test_an_id_is_of_one_collection_alone(client: httpx.Client, products: str) -> None:
    mine = post(client, products, {"a": 1}).json()["id"]
    items = client.post("/v1/items", json={"data": {}}, headers={"idempotency-key": uuid4().hex})
    theirs = items.json()["id"]
    any_tag = {"if-match": "*"}
    merge = {"content-type": "application/merge-patch+json"}
    for prefix in ("", "/v1", "/v2"):
        for path in (f"{prefix}/items/{mine}", f"{prefix}/{products}/{theirs}"):
            answers = [
                client.get(path),
                client.get(path),
                client.patch(path, content=b'{"data":{"b":2}}', headers=any_tag | merge),
                client.delete(path),
            ]
            assert codes(answers) == [(404, "item-not-found")] * 4
            assert client.head(path).status_code == 404
    body = {"data": {"a": 2}}
    put = client.put(f"/v1/items/{mine}", json=body, headers={"if-none-match": "*"})
    assert codes([put]) == [(404, "item-not-found")]
    assert client.get(f"/v1/{products}/{mine}").json()["data"] == {"a": 1}
    assert client.get(f"/v1/items/{theirs}").status_code == 200


def test_lists_and_searches_hold_one_collection(client: httpx.Client, products: str) -> None:
    word = uuid4().hex
    mine = post(client, products, {"word": word}).json()["id"]
    query = f"filter[word]={word}"
    for path, found in ((f"/v1/{products}", [mine]), ("/v1/items", [])):
        listed = client.get(f"{path}?{query}", headers={"prefer": "count=exact"}).json()
        assert [item["id"] for item in listed["items"]] == found
        assert listed["total"] == len(found)
        searched = client.post(f"{path}/search", json={"filter": {"word": word}}).json()
        assert [item["id"] for item in searched["items"]] == found
    listed = client.get(f"/v2/{products}?{query}").json()
    assert [(one["type"], one["id"]) for one in listed["data"]] == [(products, mine)]
    assert listed["data"][0]["links"]["self"] == f"/v2/{products}/{mine}"


@pytest.mark.parametrize("sort", ["id", "-id", "created_at", "-created_at"])
def test_pages_follow_each_other(client: httpx.Client, service: RunningService, sort: str) -> None:
    name = made(service)
    ids = [post(client, name, {"n": n}).json()["id"] for n in range(7)]
    seen: list[str] = []
    url = f"/v1/{name}?limit=3&sort={sort}"
    while url:
        page = client.get(url)
        seen += [item["id"] for item in page.json()["items"]]
        url = page.links.get("next", {}).get("url", "")
    assert seen == (ids[::-1] if sort.startswith("-") else ids)


def test_a_cursor_is_of_one_collection(client: httpx.Client, products: str) -> None:
    for _ in range(2):
        post(client, products, {})
    cursor = client.get(f"/v1/{products}?limit=1").json()["next_cursor"]
    assert codes([client.get(f"/v1/items?limit=1&cursor={cursor}")]) == [(400, "invalid-cursor")]


def test_a_key_belongs_to_one_collection(client: httpx.Client, products: str) -> None:
    headers = {"idempotency-key": uuid4().hex}
    first, again = (
        client.post(f"/v1/{products}", json={"data": {}}, headers=headers) for _ in range(2)
    )
    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == f"/v1/{products}/{first.json()['id']}"
    other = client.post("/v1/items", json={"data": {}}, headers=headers)
    assert codes([other]) == [(422, "idempotency-key-reused")]


def test_operations_of_a_batch_may_name_collections(client: httpx.Client, products: str) -> None:
    item = {"op": "create", "data": {"n": 1}}
    operations = [
        item | {"idempotency_key": uuid4().hex},
        item | {"idempotency_key": uuid4().hex, "collection": "items"},
    ]
    done = client.post(f"/v2/{products}:batch", json={"operations": operations}, headers=V2)
    results = done.json()["meta"]["results"]
    assert [one["document"]["data"]["type"] for one in results] == [products, "items"]
    ids = [one["document"]["data"]["id"] for one in results]
    reads = [
        {"op": "get", "id": item_id, "collection": name}
        for item_id in ids
        for name in (products, "items")
    ]
    answered = client.post("/v1/items:batch", json={"operations": reads}).json()["results"]
    assert [one["status"] for one in answered] == [200, 404, 404, 200]
    unknown = {"operations": [{"op": "get", "id": ids[0], "collection": "nothing"}]}
    refused = client.post("/v1/items:batch", json=unknown)
    assert refused.json()["errors"][0]["pointer"] == "/operations/0/collection"


def test_a_batch_needs_the_scopes_of_all_its_collections(
    service: RunningService, products: str
) -> None:
    create = {"op": "create", "data": {}, "idempotency_key": uuid4().hex, "collection": "items"}
    with service.client("alice", f"{products}:write") as client:
        answer = client.post(f"/v1/{products}:batch", json={"operations": [create]})
    assert (answer.status_code, answer.json()["scope"]) == (403, "items:write")


@pytest.mark.parametrize(
    ("scope", "reads", "writes"),
    [
        ("items:read items:write", 403, 403),
        ("{}:read", 200, 403),
        ("{}:write", 403, 201),
        ("*:read", 200, 403),
        ("*:write", 403, 201),
        ("*:admin", 403, 403),
        ("items:admin", 200, 201),
    ],
)
def test_scopes_are_those_of_the_collection(
    service: RunningService, products: str, scope: str, reads: int, writes: int
) -> None:
    with service.client("alice", scope.format(products)) as client:
        assert client.get(f"/v1/{products}").status_code == reads
        headers = {"idempotency-key": uuid4().hex}
        wrote = client.post(f"/v1/{products}", json={"data": {}}, headers=headers)
        assert wrote.status_code == writes


@pytest.mark.parametrize("path", ["/v1/nothing", "/v2/nothing/x", "/v1/nothing:batch"])
def test_an_unknown_collection(client: httpx.Client, path: str) -> None:
    assert codes([client.get(path)]) == [(404, "no-such-collection")]
