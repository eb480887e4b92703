"""What a collection's definition says holds for its items, in all workers, at once."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from service.embedded import EmbeddedStack
from tests.fixtures.made_collections import ALL, asked_of_all, changed, codes, fresh_id, made, post
from tests.fixtures.running import RunningService
from tests.fixtures.stack import execute


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("alice", ALL) as client:
        yield client


def test_the_definition_says_which_data_and_whose(
    service: RunningService, client: httpx.Client
) -> None:
    schema = {"required": ["name"]}
    name = made(service, schema=schema, max_bytes=60, write="any")
    put = f"/v1/{name}/{fresh_id()}"
    new = {"if-none-match": "*"}
    refused = client.put(put, json={"data": {"a": 1}}, headers=new)
    assert codes([refused]) == [(422, "invalid-content")]
    large = client.put(put, json={"data": {"name": "x" * 60}}, headers=new)
    assert codes([large]) == [(413, "body-too-large")]
    assert large.json()["max_bytes"] == 60
    assert client.put(put, json={"data": {"name": "x"}}, headers=new).status_code == 201
    merge = {"content-type": "application/merge-patch+json", "if-match": "*"}
    with service.client("bob", f"{name}:write") as bob:
        assert bob.patch(put, content=b'{"data":{"b":1}}', headers=merge).status_code == 200
        broken = [b'{"data":{"name":null}}', b'{"data":{"c":"%b"}}' % (b"x" * 60)]
        answers = [bob.patch(put, content=body, headers=merge) for body in broken]
        assert codes(answers) == [(422, "patch-result-invalid")] * 2
        assert bob.delete(put).status_code == 204
    operations = [{"op": "create", "data": {}, "idempotency_key": uuid4().hex}]
    batch = client.post(f"/v1/{name}:batch", json={"operations": operations})
    assert batch.json()["errors"][0]["pointer"] == "/operations/0/data"


def test_a_large_batch_is_checked_by_each_collections_schema(
    service: RunningService, client: httpx.Client
) -> None:
    """More than 64 kB, so that it is parsed and checked in a thread."""
    strict, free = made(service, schema={"required": ["name"]}), made(service)
    data = {"text": "x" * 20_000}

    def creation(collection: str, data: object) -> dict[str, object]:
        key = uuid4().hex
        return {"op": "create", "collection": collection, "data": data, "idempotency_key": key}

    mixed = [creation(free, data), creation(strict, data | {"name": "n"}), creation(free, data)]
    refused = client.post(
        f"/v1/{free}:batch", json={"operations": [*mixed, creation(strict, data)]}
    )
    assert refused.status_code == 422
    assert [each["pointer"] for each in refused.json()["errors"]] == ["/operations/3/data"]
    accepted = client.post(f"/v1/{free}:batch", json={"operations": mixed})
    assert [each["status"] for each in accepted.json()["results"]] == [201] * 3


def test_a_write_is_never_accepted_under_an_older_definition(
    service: RunningService, client: httpx.Client
) -> None:
    """Whichever worker answers and whatever it knows: the database has the last word."""
    name = made(service)
    item = post(client, name, {"a": 0}).json()["id"]
    for round_ in range(4):
        required = f"r{round_}"
        changed(service, name, schema={"required": [required]})
        for _ in range(6):
            with service.client("alice", ALL) as fresh:
                headers = {"idempotency-key": uuid4().hex}
                operation = {"op": "create", "data": {}, "idempotency_key": uuid4().hex}
                batch = {"operations": [operation]}
                atomic = batch | {"atomic": True}
                answers = [
                    fresh.post(f"/v1/{name}", json={"data": {}}, headers=headers),
                    fresh.put(f"/v1/{name}/{item}", json={"data": {}}, headers={"if-match": "*"}),
                    fresh.post(f"/v1/{name}:batch", json=atomic),
                ]
                assert [answer.status_code for answer in answers] == [422] * 3
                each = fresh.post(f"/v1/{name}:batch", json=batch)
                statuses = [one["status"] for one in each.json().get("results", [])]
                assert each.status_code == 422 or statuses == [422]
            # What it demands is accepted at once, also by a worker that has not learned of it.
            with service.client("alice", ALL) as fresh:
                assert post(fresh, name, {required: 1}).status_code == 201
                operation |= {"data": {required: 1}, "idempotency_key": uuid4().hex}
                accepted = fresh.post(f"/v1/{name}:batch", json={"operations": [operation]})
                assert [one["status"] for one in accepted.json()["results"]] == [201]


def test_a_public_collection_is_read_without_credentials(
    service: RunningService, client: httpx.Client
) -> None:
    name = made(service, read="public")
    created = post(client, name, {"n": 1})
    path = f"/v1/{name}/{created.json()['id']}"
    asked_of_all(service, path, 200)
    shared = "public, max-age=0, s-maxage=60"
    with httpx.Client(base_url=service.url) as nobody:
        for _ in range(3):
            read = nobody.get(path, headers={"accept": "application/vnd.api.v2+json"})
            assert read.content == created.content
            assert read.headers["content-type"] == "application/json"
            assert (read.headers["cache-control"], read.headers["vary"]) == (
                shared,
                "Accept-Encoding",
            )
        known = nobody.get(path, headers={"if-none-match": read.headers["etag"]})
        assert (known.status_code, known.headers["cache-control"]) == (304, shared)
        negotiated = nobody.get(path.removeprefix("/v1"))
        assert negotiated.headers["vary"] == "Accept, Accept-Encoding"
        listed = nobody.get(f"/v2/{name}")
        assert listed.headers["content-type"].startswith("application/vnd.api+json")
        assert listed.headers["cache-control"] == shared
        assert nobody.post(f"/v1/{name}/search", json={}).json()["items"] != []
        assert nobody.head(path).status_code == 200
        headers = {"idempotency-key": uuid4().hex}
        refused = [
            nobody.post(f"/v1/{name}", json={"data": {}}, headers=headers),
            nobody.delete(path),
            nobody.post(f"/v1/{name}:batch", json={"operations": []}),
            nobody.get("/v1/items"),
        ]
        assert codes(refused) == [(401, "unauthenticated")] * 4
    wrong = {"authorization": "Bearer abc"}
    assert httpx.get(f"{service.url}{path}", headers=wrong).status_code == 401
    with service.client("bob", "other:read") as bob:
        assert bob.get(path).headers["cache-control"] == shared
    changed(service, name)
    asked_of_all(service, path, 401)
    assert client.get(path).headers["cache-control"] == "private, no-cache"


def test_a_shared_cache_keeps_no_item_beyond_its_time(
    service: RunningService, client: httpx.Client
) -> None:
    name = made(service, read="public", ttl_s=40)
    path = f"/v1/{name}/{post(client, name, {}).json()['id']}"
    kept = httpx.get(f"{service.url}{path}").headers["cache-control"]
    assert re.fullmatch(r"public, max-age=0, s-maxage=(\d|[123]\d)", kept)
    listed = httpx.get(f"{service.url}/v1/{name}").headers["cache-control"]
    assert listed == "public, max-age=0, s-maxage=0"


def test_a_definition_that_cannot_be_learned_is_503(
    service: RunningService, stack: EmbeddedStack, client: httpx.Client
) -> None:
    """A shard knows a later one than the first shard tells."""
    name = made(service)
    ahead = f"UPDATE collections SET version = version + 1000000 WHERE name = '{name}'"
    execute(stack.shards[1][0], ahead)
    try:
        answers = [
            client.post(f"/v1/{name}", json={"data": {}}, headers={"idempotency-key": uuid4().hex})
            for _ in range(30)
        ]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert 0 < len(refused) < 30
        for answer in refused:
            assert (answer.status_code, answer.json()["code"]) == (503, "definition-changed")
            assert answer.headers["retry-after"] == "1"
    finally:
        with service.client("olga", "items:admin") as operator:
            drop = f"/v1/collections/{name}?force"
            assert operator.delete(drop, headers={"confirm-drop": name}).status_code == 204


def test_an_item_ends_when_its_time_is_over(service: RunningService, client: httpx.Client) -> None:
    name = made(service)
    created = post(client, name, {"n": 1})
    path = f"/v1/{name}/{created.json()['id']}"
    readers = [service.client(who, ALL) for who in ("alice", "bob")]
    for reader in readers:
        assert reader.get(path).status_code == 200
    changed(service, name, ttl_s=1)
    token = readers[1].headers["authorization"]
    asked_of_all(service, path, 404, authorization=token)
    for reader in readers:
        listed = reader.get(f"/v1/{name}", headers={"prefer": "count=exact"}).json()
        assert (listed["items"], listed["total"]) == ([], 0)
        batch = {"operations": [{"op": "get", "id": created.json()["id"]}]}
        assert reader.post(f"/v1/{name}:batch", json=batch).json()["results"][0]["status"] == 404
        reader.close()
    merge = {"content-type": "application/merge-patch+json", "if-match": "*"}
    gone = [client.patch(path, content=b"{}", headers=merge), client.delete(path)]
    assert [answer.status_code for answer in gone] == [404, 404]
    again = client.put(path, json={"data": {"n": 2}}, headers={"if-none-match": "*"})
    assert (again.status_code, again.json()["version"]) == (201, 2)
    assert again.json()["created_at"] == again.json()["updated_at"]


def test_what_is_dropped_is_gone_at_once(service: RunningService, client: httpx.Client) -> None:
    name = made(service)
    path = f"/v1/{name}/{post(client, name, {}).json()['id']}"
    assert client.get(path).status_code == 200
    with service.client("olga", "items:admin") as operator:
        drop = f"/v1/collections/{name}?force"
        assert operator.delete(drop, headers={"confirm-drop": name}).status_code == 204
    asked_of_all(service, path, 404, authorization=client.headers["authorization"])
    headers = {"idempotency-key": uuid4().hex}
    refused = client.post(f"/v1/{name}", json={"data": {}}, headers=headers)
    assert codes([refused]) == [(404, "no-such-collection")]
    other = made(service)
    new = {"if-none-match": "*"}
    taken = client.put(path.replace(name, other), json={"data": {}}, headers=new)
    assert codes([taken]) == [(404, "item-not-found")]
