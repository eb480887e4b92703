"""Items over HTTP, from the first POST to the tombstone, against real databases."""

import re
from datetime import datetime
from uuid import uuid4

import httpx
import pytest

from service import native
from tests.fixtures.running import RunningService

JSON = {"content-type": "application/json"}


def _key() -> dict[str, str]:
    return JSON | {"idempotency-key": uuid4().hex}


def _post(client: httpx.Client, body: str = '{"data":{"a":1}}') -> httpx.Response:
    answer = client.post("/v1/items", content=body, headers=_key())
    assert answer.status_code == 201, answer.text
    return answer


def _fresh_id() -> str:
    return native.format_id(native.mint_in_bucket(1_700_000_000_000, 0, 1))


def test_a_created_item_is_read_back(service: RunningService) -> None:
    with service.client() as client:
        created = _post(client, '{"data":{"name":"kettle","price":19.90}}')
        location = created.headers["location"]
        assert re.fullmatch(r"/v1/items/[0-7][0-9A-HJKMNP-TV-Z]{25}", location)
        read = client.get(location)
    assert read.status_code == 200
    assert read.content == created.content
    assert read.headers["etag"] == created.headers["etag"]
    assert read.headers["content-type"] == "application/json"
    assert read.headers["cache-control"] == "private, no-cache"
    assert read.headers["vary"] == "Accept, Accept-Encoding, Authorization, X-API-Key"
    item = read.json()
    assert list(item) == ["id", "owner_id", "version", "created_at", "updated_at", "data"]
    assert (item["owner_id"], item["version"]) == ("alice", 1)
    assert item["created_at"] == item["updated_at"]
    assert datetime.strptime(item["created_at"], "%Y-%m-%dT%H:%M:%S.%f%z")


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_an_id_is_read_in_either_case_and_encoded(service: RunningService, prefix: str) -> None:
    with service.client() as client:
        item_id = _post(client).json()["id"]
        forms = [item_id, item_id.lower(), f"%{ord(item_id[0]):02X}{item_id[1:]}"]
        answers = [client.get(f"{prefix}/items/{form}") for form in forms]
        twice = client.get(f"{prefix}/items/%25{ord(item_id[0]):02X}{item_id[1:]}")
    assert [a.status_code for a in answers] == [200, 200, 200]
    assert {a.json()["id"] for a in answers} == {item_id}
    assert twice.status_code == 404


def test_head_is_get_without_the_body(service: RunningService) -> None:
    with service.client() as client:
        location = _post(client).headers["location"]
        get, head = client.get(location), client.head(location)
    different = {"date", "x-request-id", "ratelimit"}
    assert head.content == b""
    assert {k: v for k, v in head.headers.items() if k not in different} == {
        k: v for k, v in get.headers.items() if k not in different
    }


def test_numbers_keep_every_digit(service: RunningService) -> None:
    numbers = [
        "19.90",
        "1e-400",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
    ]
    with service.client() as client:
        body = '{"data":{"n":[' + ",".join(numbers) + "]}}"
        read = client.get(_post(client, body).headers["location"]).text
    kept = re.search(r'"n": \[(.*?)\]', read)
    assert kept is not None
    expected = [numbers[0], "0." + "0" * 399 + "1", *numbers[2:]]
    assert kept[1].split(", ") == expected


def test_replace_makes_the_next_version(service: RunningService) -> None:
    with service.client() as client:
        created = _post(client)
        url, tag = created.headers["location"], created.headers["etag"]
        replaced = client.put(url, content='{"data":{"a":2}}', headers=JSON | {"if-match": tag})
        read = client.get(url)
        stale = client.put(url, content='{"data":{"a":3}}', headers=JSON | {"if-match": tag})
    assert replaced.status_code == 200
    assert replaced.json()["version"] == 2
    assert replaced.content == read.content
    assert replaced.headers["etag"] == read.headers["etag"] != tag
    assert stale.status_code == 412
    problem = stale.json()
    assert (problem["code"], problem["version"]) == ("precondition-failed", 2)
    assert problem["etag"] == read.headers["etag"]


def test_a_put_needs_a_precondition(service: RunningService) -> None:
    with service.client() as client:
        url = _post(client).headers["location"]
        answer = client.put(url, content='{"data":{}}', headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (428, "precondition-required")


def test_put_creates_under_a_chosen_id_once(service: RunningService) -> None:
    url = f"/v1/items/{_fresh_id()}"
    create = JSON | {"if-none-match": "*"}
    with service.client() as client:
        missing = client.put(url, content='{"data":{}}', headers=JSON | {"if-match": "*"})
        first = client.put(url, content='{"data":{"n":1}}', headers=create)
        second = client.put(url, content='{"data":{"n":2}}', headers=create)
        read = client.get(url)
    assert [missing.status_code, first.status_code, second.status_code] == [412, 201, 412]
    assert first.headers["location"] == url
    assert read.json()["data"] == {"n": 1}


def test_delete_leaves_a_tombstone_that_continues_the_version(service: RunningService) -> None:
    with service.client() as client:
        created = _post(client)
        url, tag = created.headers["location"], created.headers["etag"]
        deleted = client.delete(url, headers={"if-match": tag})
        gone = [client.get(url), client.delete(url), client.delete(url, headers={"if-match": tag})]
        revived = client.put(url, content='{"data":{"a":1}}', headers=JSON | {"if-none-match": "*"})
        old = client.put(url, content='{"data":{}}', headers=JSON | {"if-match": tag})
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [(g.status_code, g.json()["code"]) for g in gone] == [(404, "item-not-found")] * 3
    assert (revived.status_code, revived.json()["version"]) == (201, 3)
    assert old.status_code == 412


@pytest.mark.parametrize("match", [{"if-none-match": "*"}, {"if-match": "*"}])
def test_a_deleted_id_stays_its_owner_s(service: RunningService, match: dict[str, str]) -> None:
    with (
        service.client("alice") as alice,
        service.client("mallory") as mallory,
        service.client("root", "items:admin") as admin,
    ):
        own, taken = (_post(alice).headers["location"] for _ in range(2))
        for url in (own, taken):
            assert alice.delete(url, headers={"if-match": "*"}).status_code == 204
        refused = mallory.put(own, content='{"data":{}}', headers=JSON | match)
        operation = {"op": "replace", "id": own[-26:], "data": {}, "if_none_match": "*"}
        in_batch = [
            mallory.post("/v1/items:batch", json={"operations": [operation], "atomic": atomic})
            for atomic in (False, True)
        ]
        creates = JSON | {"if-none-match": "*"}
        by_owner = alice.put(own, content='{"data":{}}', headers=creates)
        by_admin = admin.put(taken, content='{"data":{}}', headers=creates)
    assert (refused.status_code, refused.json()["code"]) == (403, "not-owner")
    assert in_batch[0].json()["results"][0]["problem"]["code"] == "not-owner"
    assert in_batch[1].json()["code"] == "batch-failed"
    assert (by_owner.status_code, by_owner.json()["version"]) == (201, 3)
    assert (by_admin.status_code, by_admin.json()["owner_id"]) == (201, "root")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_only_the_owner_or_an_admin_changes_an_item(service: RunningService, method: str) -> None:
    with (
        service.client("alice") as alice,
        service.client("mallory") as mallory,
        service.client("root", "items:admin") as admin,
    ):
        url = _post(alice).headers["location"]
        headers = JSON | {"if-match": "*"}
        body = '{"data":{}}' if method == "PUT" else ""
        assert mallory.get(url).status_code == 200
        refused = mallory.request(method, url, content=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "not-owner")
        changed = admin.request(method, url, content=body, headers=headers)
        assert changed.status_code in (200, 204)
        if method == "PUT":
            assert changed.json()["owner_id"] == "alice"


def test_a_known_version_is_not_sent_again(service: RunningService) -> None:
    with service.client() as client:
        created = _post(client)
        url, tag = created.headers["location"], created.headers["etag"]
        same = [client.get(url, headers={"if-none-match": t}) for t in (tag, f"W/{tag}", "*")]
        other = client.get(url, headers={"if-none-match": '"1-00000000"'})
        unmet = client.get(url, headers={"if-match": '"1-00000000"'})
        head = client.head(url, headers={"if-none-match": tag})
    assert [s.status_code for s in same] == [304, 304, 304]
    assert [(s.content, s.headers["etag"]) for s in same] == [(b"", tag)] * 3
    assert (other.status_code, unmet.status_code, head.status_code) == (200, 412, 304)


def test_return_minimal_drops_the_body(service: RunningService) -> None:
    minimal = {"prefer": "return=minimal"}
    with service.client() as client:
        created = client.post("/v1/items", content='{"data":{}}', headers=_key() | minimal)
        url, tag = created.headers["location"], created.headers["etag"]
        headers = JSON | minimal | {"if-match": tag}
        replaced = client.put(url, content='{"data":{"a":1}}', headers=headers)
    assert (created.status_code, created.content) == (201, b"")
    assert (replaced.status_code, replaced.content) == (204, b"")
    assert replaced.headers["etag"] != tag
    assert replaced.headers["preference-applied"] == "return=minimal"
