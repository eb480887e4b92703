"""Every error a caller can provoke, as the problem document that goes over the wire."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import orjson
import pytest

from service.access import signing_keys
from tests.fixtures.running import AUDIENCE, ISSUER, RunningService

JSON = {"content-type": "application/json"}
NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"


def _key() -> dict[str, str]:
    return JSON | {"idempotency-key": uuid4().hex}


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def _check(
    answer: httpx.Response, status: int, code: str, location: dict[str, str] | None = None
) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert problem["type"] == f"urn:problem-type:hotshelf:{code}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    if location is not None:
        assert location.items() <= problem["errors"][0].items()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b'{"data":{}} {}', ""),
        (b'\xef\xbb\xbf{"data":{}}', ""),
        ('{"data":{}}'.encode("utf-16"), ""),
        (b'{"data":{"a":"\xff"}}', ""),
        (b'{"data":{"a":NaN}}', ""),
        (b'{"data":{},"data":{}}', "/data"),
    ],
)
def test_invalid_syntax(client: httpx.Client, body: bytes, pointer: str) -> None:
    answer = client.post("/v1/items", content=body, headers=_key())
    _check(answer, 400, "invalid-syntax", {"pointer": pointer})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"[]", ""),
        (b"null", ""),
        (b"{}", "/data"),
        (b'{"data":[]}', "/data"),
        (b'{"data":{},"more":1}', "/more"),
        (b'{"data":{"k":"a\\u0000b"}}', "/data/k"),
        (b'{"data":{"k":"\\ud800"}}', "/data/k"),
        (b'{"data":{"k":"\\udc00"}}', "/data/k"),
        (b'{"data":{"a":{"b/c":["x",1e131071]}}}', "/data/a/b~1c/1"),
        (b'{"data":{"d":' + b"[" * 64 + b"]" * 64 + b"}}", "/data/d" + "/0" * 63),
    ],
)
def test_invalid_content(client: httpx.Client, body: bytes, pointer: str) -> None:
    answer = client.post("/v1/items", content=body, headers=_key())
    _check(answer, 422, "invalid-content", {"pointer": pointer})


def test_all_locations_are_reported(client: httpx.Client) -> None:
    body = b'{"data":{"a":"\\u0000","b":1e9999,"c":"\\ud800"}}'
    answer = client.post("/v1/items", content=body, headers=_key())
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/data/a", "/data/b", "/data/c"]


@pytest.mark.parametrize("query", ["x=1", "limit=1&limit=2", "a=%ZZ", "a=%00", "a=%C3%28"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_invalid_parameter(client: httpx.Client, method: str, query: str) -> None:
    headers = JSON | {"if-match": "*"} if method == "PUT" else {}
    content = b'{"data":{}}' if method == "PUT" else b""
    answer = client.request(method, f"{NOBODY}?{query}", headers=headers, content=content)
    _check(answer, 400, "invalid-parameter", {"parameter": query.split("=", maxsplit=1)[0]})


@pytest.mark.parametrize("name", ["if-match", "if-none-match"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_invalid_header(client: httpx.Client, method: str, name: str) -> None:
    headers = {name: "unquoted"} | (JSON if method == "PUT" else {})
    answer = client.request(method, NOBODY, headers=headers)
    if method == "HEAD":
        assert answer.status_code == 400
    else:
        _check(answer, 400, "invalid-header", {"header": name})


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "a\tb"])
def test_an_idempotency_key_is_checked(client: httpx.Client, key: str) -> None:
    answer = client.post(
        "/v1/items", content=b'{"data":{}}', headers=JSON | {"idempotency-key": key}
    )
    _check(answer, 400, "invalid-header", {"header": "idempotency-key"})


def test_two_different_keys_are_refused(client: httpx.Client) -> None:
    headers = JSON | {"idempotency-key": "a", "x-idempotency-key": "b"}
    answer = client.post("/v1/items", content=b'{"data":{}}', headers=headers)
    _check(answer, 400, "invalid-header")


def test_idempotency_key_missing(client: httpx.Client) -> None:
    answer = client.post("/v1/items", content=b'{"data":{}}', headers=JSON)
    _check(answer, 400, "idempotency-key-missing", {"header": "idempotency-key"})


@pytest.mark.parametrize("bad", ["x", "8" + "Z" * 25, "0" * 25, "0" * 27, "I" * 26, "\uff10" * 26])
def test_invalid_id(client: httpx.Client, bad: str) -> None:
    put = client.put(f"/v1/items/{bad}", content=b'{"data":{}}', headers=JSON | {"if-match": "*"})
    _check(put, 400, "invalid-id")
    _check(client.get(f"/v1/items/{bad}"), 404, "item-not-found")
    _check(client.delete(f"/v1/items/{bad}"), 404, "item-not-found")


@pytest.mark.parametrize("path", [NOBODY, "/v1/items", "/nowhere"])
def test_nothing_is_revealed_without_credentials(service: RunningService, path: str) -> None:
    bare = httpx.get(service.url + path)
    _check(bare, 401, "unauthenticated")
    assert bare.headers["www-authenticate"] == 'Bearer realm="hotshelf"'
    wrong = httpx.get(service.url + path, headers={"authorization": "Bearer abc"})
    _check(wrong, 401, "invalid-token")
    assert wrong.headers["www-authenticate"] == 'Bearer realm="hotshelf", error="invalid_token"'


def test_an_expired_or_foreign_token_is_invalid(service: RunningService) -> None:
    foreign = signing_keys.generate()
    tokens = [
        signing_keys.mint(service.key, ISSUER, AUDIENCE, "alice", "items:read", -60),
        signing_keys.mint(service.key, ISSUER, "somewhere", "alice", "items:read", 60),
        signing_keys.mint(service.key, "http://else", AUDIENCE, "alice", "items:read", 60),
        signing_keys.mint(foreign, ISSUER, AUDIENCE, "alice", "items:read", 60),
    ]
    for token in tokens:
        answer = httpx.get(service.url + NOBODY, headers={"authorization": f"Bearer {token}"})
        _check(answer, 401, "invalid-token")
        assert token not in answer.text


def test_insufficient_scope(service: RunningService) -> None:
    with service.client(scope="items:write") as client:
        read = client.get(NOBODY)
    with service.client(scope="items:read") as client:
        write = client.post("/v1/items", content=b'{"data":{}}', headers=_key())
        delete = client.delete(NOBODY)
    for answer, scope in ((read, "items:read"), (write, "items:write"), (delete, "items:write")):
        _check(answer, 403, "insufficient-scope")
        challenge = f'Bearer realm="hotshelf", error="insufficient_scope", scope="{scope}"'
        assert answer.headers["www-authenticate"] == challenge


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/V1/items",
        "/v3/items",
        "/v1/items/",
        f"{NOBODY}/",
        "/v1//items",
        "/v1/items/a/b",
    ],
)
def test_no_such_route(client: httpx.Client, path: str) -> None:
    _check(client.get(path), 404, "no-such-route")


@pytest.mark.parametrize("path", ["/v1/items", NOBODY, "/livez"])
@pytest.mark.parametrize("method", ["TRACE", "FOO17", "PURGE"])
def test_method_not_allowed(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    _check(answer, 405, "method-not-allowed")
    assert "OPTIONS" in answer.headers["allow"]


def test_not_acceptable(client: httpx.Client) -> None:
    for answer in (
        client.get(NOBODY, headers={"accept": "text/html"}),
        client.post("/v1/items", content=b'{"data":{}}', headers=_key() | {"accept": "a/b"}),
    ):
        _check(answer, 406, "not-acceptable", {"header": "accept"})
        assert "application/json" in answer.json()["available"]


def test_body_too_large(client: httpx.Client) -> None:
    body = b'{"data":{"a":"' + b"x" * (1 << 20) + b'"}}'
    _check(client.post("/v1/items", content=body, headers=_key()), 413, "body-too-large")
    chunked = iter([body[:1000], body[1000:]])
    _check(client.post("/v1/items", content=chunked, headers=_key()), 413, "body-too-large")


@pytest.mark.parametrize("value", ["text/plain", "application/x-www-form-urlencoded", None])
def test_unsupported_media_type(client: httpx.Client, value: str | None) -> None:
    headers = {"idempotency-key": uuid4().hex} | ({"content-type": value} if value else {})
    answer = client.post("/v1/items", content=b'{"data":{}}', headers=headers)
    _check(answer, 415, "unsupported-media-type", {"header": "content-type"})


def test_incomplete_body(service: RunningService, client: httpx.Client) -> None:
    address = urlsplit(service.url)
    head = (
        "POST /v1/items HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {client.headers['authorization']}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {uuid4().hex}\r\n"
        "Content-Length: 100\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as raw:
        raw.sendall(head.encode() + b'{"data":{}}')
        raw.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: raw.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert orjson.loads(received.split(b"\r\n\r\n", 1)[1])["code"] == "incomplete-body"
