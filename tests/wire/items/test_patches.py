"""PATCH over HTTP: all or nothing, and each failure under its own code."""

from collections.abc import Iterator

import httpx
import pytest

from service.api.headers.media_types import PATCH_TYPES
from tests.fixtures.running import RunningService
from tests.fixtures.write_ways import JSON_PATCH, MERGE_PATCH, WriteWay, new_item

DATA = b'{"price":0.10,"tags":["a","b"],"n":1e400,"on":true}'


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("patches") as client:
        yield client


def test_a_merge_patch_changes_only_named_members(client: httpx.Client) -> None:
    url = new_item(client, DATA)
    before = client.get(url).text
    patch = b'{"data":{"tags":null,"on":{"x":1.50}}}'
    answer = MERGE_PATCH.send_body(client, patch, url=url)
    assert answer.status_code == 200
    assert answer.text == client.get(url).text
    number = before[before.index('"n": ') :].split(",")[0]
    assert number in answer.text
    assert '"price": 0.10' in answer.text
    assert '"on": {"x": 1.50}' in answer.text
    assert "tags" not in answer.text


def test_a_json_patch_is_done_in_turn(client: httpx.Client) -> None:
    url = new_item(client, DATA)
    patch = b"""[
        {"op": "test", "path": "/data/price", "value": 1e-1},
        {"op": "test", "path": "/owner_id", "value": "patches"},
        {"op": "add", "path": "/data/tags/-", "value": "c"},
        {"op": "move", "from": "/data/tags/0", "path": "/data/first"},
        {"op": "remove", "path": "/data/n"},
        {"op": "copy", "from": "/data/tags", "path": "/data/copy"}
    ]"""
    answer = JSON_PATCH.send_body(client, patch, url=url)
    assert answer.status_code == 200, answer.text
    assert '"price": 0.10' in answer.text
    assert answer.json()["data"] == {
        "price": 0.1,
        "tags": ["b", "c"],
        "on": True,
        "first": "a",
        "copy": ["b", "c"],
    }


@pytest.mark.parametrize(
    ("way", "patch", "status", "code"),
    [
        (JSON_PATCH, b'{"op":"test","path":"/data/on","value":1}', 409, "patch-test-failed"),
        (JSON_PATCH, b'{"op":"test","path":"/data/x","value":null}', 409, "patch-test-failed"),
        (JSON_PATCH, b'{"op":"remove","path":"/data/tags/2"}', 409, "patch-conflict"),
        (JSON_PATCH, b'{"op":"remove","path":"/data/tags/00"}', 409, "patch-conflict"),
        (JSON_PATCH, b'{"op":"move","from":"/data","path":"/data/x"}', 409, "patch-conflict"),
        (JSON_PATCH, b'{"op":"remove","path":""}', 409, "patch-conflict"),
        (JSON_PATCH, b'{"op":"remove","path":"/data"}', 422, "patch-result-invalid"),
        (JSON_PATCH, b'{"op":"replace","path":"/data","value":[]}', 422, "patch-result-invalid"),
        (JSON_PATCH, b'{"op":"replace","path":"/id","value":"x"}', 422, "patch-result-invalid"),
        (JSON_PATCH, b'{"op":"add","path":"/extra","value":1}', 422, "patch-result-invalid"),
        (JSON_PATCH, b'{"op":"replace","path":"","value":{}}', 422, "patch-result-invalid"),
        (JSON_PATCH, b'{"op":"remove","path":"data"}', 400, "invalid-syntax"),
        (JSON_PATCH, b'{"op":"remove"}', 400, "invalid-syntax"),
        (JSON_PATCH, b'{"op":"merge","path":"/data"}', 400, "invalid-syntax"),
        (MERGE_PATCH, b'{"data":null}', 422, "patch-result-invalid"),
        (MERGE_PATCH, b'{"data":[]}', 422, "patch-result-invalid"),
        (MERGE_PATCH, b'{"version":7}', 422, "patch-result-invalid"),
        (MERGE_PATCH, b'{"a":1}', 422, "patch-result-invalid"),
        (MERGE_PATCH, b"[]", 422, "patch-result-invalid"),
        (MERGE_PATCH, b'{"data":', 400, "invalid-syntax"),
        (MERGE_PATCH, b'{"data":{"a":"\\ud800"}}', 422, "invalid-content"),
    ],
)
def test_a_patch_that_fails_changes_nothing(
    client: httpx.Client, way: WriteWay, patch: bytes, status: int, code: str
) -> None:
    url = new_item(client, DATA)
    before = client.get(url).content
    if way is JSON_PATCH:
        patch = b'[{"op":"add","path":"/data/before","value":1},' + patch + b"]"
    answer = way.send_body(client, patch, url=url)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["errors"]
    assert client.get(url).content == before


def test_copies_that_double_are_refused(client: httpx.Client) -> None:
    url = new_item(client, b'{"a":["' + b"x" * 1000 + b'"]}')
    double = b'{"op":"copy","from":"/data/a","path":"/data/a/-"}'
    answer = JSON_PATCH.send_body(client, b"[" + b",".join([double] * 900) + b"]", url=url)
    assert (answer.status_code, answer.json()["code"]) == (422, "patch-result-invalid")
    assert client.get(url).json()["version"] == 1


def test_other_patch_types_are_415_with_accept_patch(client: httpx.Client) -> None:
    url = new_item(client)
    for media_type in ("application/json", "text/plain", "application/xml-patch+xml"):
        answer = MERGE_PATCH.send(client, b"{}", url=url, content_type=media_type)
        assert answer.status_code == 415
        offered = answer.headers["accept-patch"]
        assert offered == ", ".join(PATCH_TYPES)


def test_a_patch_that_changes_nothing_succeeds(client: httpx.Client) -> None:
    url = new_item(client, DATA)
    tag = client.get(url).headers["etag"]
    for way, body in ((MERGE_PATCH, b"{}"), (JSON_PATCH, b"[]"), (MERGE_PATCH, b'{"data":{}}')):
        answer = way.send_body(client, body, url=url, if_match=tag)
        assert answer.status_code == 200
        tag = answer.headers["etag"]
    assert client.get(url).headers["etag"] == tag


@pytest.mark.parametrize("way", [MERGE_PATCH, JSON_PATCH])
def test_errors_of_the_patch_alone_come_first(client: httpx.Client, way: WriteWay) -> None:
    """The order of the checks: a body that is no patch is refused before the item is missed."""
    nobody = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
    broken = way.send_body(client, b"[{", url=nobody)
    whole = b"{}" if way is MERGE_PATCH else b"[]"
    missing = way.send_body(client, whole, url=nobody)
    assert (broken.status_code, broken.json()["code"]) == (400, "invalid-syntax")
    assert (missing.status_code, missing.json()["code"]) == (404, "item-not-found")


def test_a_patch_needs_if_match(client: httpx.Client) -> None:
    """If-None-Match: * is for a PUT that creates."""
    url = new_item(client, DATA)
    for fields in ({}, {"if_none_match": "*"}):
        answer = MERGE_PATCH.send_body(client, b"{}", url=url, if_match=None, **fields)
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition-required")
