"""Which version an answer has, by URL and Accept, and what follows from it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.wire import ask, request

JSON = "application/json"
V1 = "application/vnd.api.v1+json"
V2 = "application/vnd.api.v2+json"
V9 = "application/vnd.api.v9+json"
JSON_API = "application/vnd.api+json"


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def item_id(client: httpx.Client) -> str:
    headers = {"content-type": JSON, "idempotency-key": str(uuid.uuid4())}
    # Long enough to be compressed, with digits that no float keeps.
    body = '{"data":{"n":12345678901234567890.5000,"text":"%s"}}' % ("long " * 500)
    created = client.post("/v1/items", content=body, headers=headers)
    return str(created.json()["id"])


def _version_of(answer: httpx.Response) -> int:
    return 2 if "jsonapi" in answer.json() else 1


@pytest.mark.parametrize(
    ("accept", "media_type", "version"),
    [
        ("text/html, application/json", JSON, 1),
        ("*/*", JSON, 1),
        ("application/*", JSON, 1),
        ("", JSON, 1),
        (V2, V2, 2),
        (JSON_API, JSON_API, 2),
        (f"{V1};q=0.4, {V2}", V2, 2),
        (f"{V9}, */*;q=0.1", JSON, 1),
        (f"application/json;q=0, {V1};q=0.1", V1, 1),
    ],
)
def test_the_best_acceptable_form_and_its_name(
    client: httpx.Client, item_id: str, accept: str, media_type: str, version: int
) -> None:
    answer = client.get(f"/v1/items/{item_id}", headers={"accept": accept})
    assert answer.status_code == 200
    assert (answer.headers["content-type"], _version_of(answer)) == (media_type, version)
    assert "Accept" in [name.strip() for name in answer.headers["vary"].split(",")]


def test_two_lines_are_one_list(service: RunningService, item_id: str) -> None:
    fields = [
        "Accept: text/html",
        f"Accept: {V2};q=0.5",
        f"Authorization: Bearer {service.token()}",
    ]
    answer = ask(
        int(service.url.rpartition(":")[2]),
        request("GET", f"/{service.collection}/{item_id}", *fields),
    )
    assert (answer.status, answer.header("content-type")) == (200, V2)


@pytest.mark.parametrize("accept", [V9, "application/json;q=0", "text/html", f"{JSON_API}; a=b"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_only_unknown_is_406_with_the_list(
    client: httpx.Client, item_id: str, accept: str, version: str
) -> None:
    answer = client.get(f"/{version}/items/{item_id}", headers={"accept": accept})
    assert answer.status_code == 406
    found = answer.json() if version == "v1" else answer.json()["errors"][0]["meta"]
    assert sorted(found["available"].split(", ")) == sorted([JSON, JSON_API, V1, V2])


def test_a_long_value_is_no_fault_of_ours(client: httpx.Client, item_id: str) -> None:
    accept = ", ".join([V9] * 120)
    assert len(accept) < 4096
    refused = client.get(f"/v1/items/{item_id}", headers={"accept": accept})
    assert refused.status_code == 406
    too_long = client.get(f"/v1/items/{item_id}", headers={"accept": "a" * 100_000})
    assert too_long.status_code == 431


@pytest.mark.parametrize(
    ("path", "accept", "media_type", "version"),
    [
        ("/v2", "*/*", JSON_API, 2),
        ("/v2", JSON, JSON, 2),
        ("/v2", V1, V1, 1),
        ("/v2", V2, V2, 2),
        ("/v1", V2, V2, 2),
        ("", "*/*", JSON, 1),
        ("", V2, V2, 2),
    ],
)
def test_a_vendor_type_wins_over_the_url(
    client: httpx.Client, item_id: str, path: str, accept: str, media_type: str, version: int
) -> None:
    answer = client.get(f"{path}/items/{item_id}", headers={"accept": accept})
    assert (answer.headers["content-type"], _version_of(answer)) == (media_type, version)


def test_the_data_is_the_same_digit_for_digit(client: httpx.Client, item_id: str) -> None:
    texts = []
    for path in ("/v1", "/v2"):
        text = client.get(f"{path}/items/{item_id}").text
        texts.append(text[text.index('{"n"') : text.index("}", text.index('{"n"')) + 1])
    assert texts[0] == texts[1]
    assert "12345678901234567890.5000" in texts[0]


def test_each_form_has_a_strong_tag_of_its_own(client: httpx.Client, item_id: str) -> None:
    tags = {}
    for path in ("/v1", "/v2"):
        for coding in ("identity", "br", "gzip", "zstd"):
            url, headers = f"{path}/items/{item_id}", {"accept-encoding": coding}
            answer = client.get(url, headers=headers)
            tags[path, coding] = answer.headers["etag"]
            known = client.get(url, headers=headers | {"if-none-match": answer.headers["etag"]})
            assert (known.status_code, known.headers["etag"]) == (304, answer.headers["etag"])
    assert len(set(tags.values())) == 8
    assert not any(tag.startswith("W/") for tag in tags.values())
    assert {".v2" in tag for (path, _), tag in tags.items() if path == "/v2"} == {True}


def test_any_current_tag_allows_a_write(client: httpx.Client) -> None:
    headers = {"content-type": JSON, "idempotency-key": str(uuid.uuid4())}
    url = client.post("/v1/items", content='{"data":{}}', headers=headers).headers["location"]
    tag = client.get(url, headers={"accept": V2}).headers["etag"]
    write = {"content-type": JSON, "if-match": tag}
    assert client.put(url, content='{"data":{"a":1}}', headers=write).status_code == 200
    assert client.put(url, content='{"data":{"a":2}}', headers=write).status_code == 412


# Errors, also those that come before an endpoint


def _errors(answer: httpx.Response) -> list[dict[str, Any]]:
    document = answer.json()
    assert document["jsonapi"] == {"version": "1.1"}
    assert document["meta"] == {"request_id": answer.headers["x-request-id"]}
    errors: list[dict[str, Any]] = document["errors"]
    assert {error["status"] for error in errors} == {str(answer.status_code)}
    return errors


def test_errors_have_the_requested_version(service: RunningService) -> None:
    missing = "/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
    with service.client() as client, httpx.Client(base_url=service.url) as nobody:
        by_url = client.get(f"/v2{missing}")
        by_type = client.get(f"/v1{missing}", headers={"accept": V2})
        v1_at_v2 = client.get(f"/v2{missing}", headers={"accept": V1})
        early = [
            nobody.get(f"/v2{missing}"),
            client.get("/v2/nothing"),
            client.request("TRACE", f"/v2{missing}"),
        ]
    assert by_url.headers["content-type"] == JSON_API
    assert by_type.headers["content-type"] == V2
    assert v1_at_v2.headers["content-type"] == "application/problem+json"
    assert v1_at_v2.json()["code"] == "item-not-found"
    for answer in (by_url, by_type):
        assert [error["code"] for error in _errors(answer)] == ["item-not-found"]
    codes = [(answer.status_code, _errors(answer)[0]["code"]) for answer in early]
    assert codes == [
        (401, "unauthenticated"),
        (404, "no-such-collection"),
        (405, "method-not-allowed"),
    ]
    assert early[0].headers["www-authenticate"].startswith("Bearer")
    assert "GET" in early[2].headers["allow"]


def test_each_location_is_an_error_object(client: httpx.Client) -> None:
    headers = {"content-type": JSON_API, "idempotency-key": str(uuid.uuid4())}
    body = {"data": {"type": "items", "attributes": {"a": "\0", "b": {"c": "\0"}}, "odd": 1}}
    answer = client.post("/v2/items", content=json.dumps(body), headers=headers)
    assert answer.status_code == 422
    errors = _errors(answer)
    assert {error["code"] for error in errors} == {"invalid-content"}
    assert [error["source"] for error in errors] == [
        {"pointer": "/data/attributes/a"},
        {"pointer": "/data/attributes/b/c"},
    ]
    refused = client.get("/v2/items/01ARZ3NDEKTSV4RRFFQ69G5FAV?x=1&y=2")
    assert [error["source"] for error in _errors(refused)] == [
        {"parameter": "x"},
        {"parameter": "y"},
    ]
