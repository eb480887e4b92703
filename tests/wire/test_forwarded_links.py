"""Location and links behind a proxy that is trusted, and one that is not."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service

FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-host": "shop.example:8443"}
# The base of links by the address that the request comes from.
BASES = {"127.0.0.1": "https://shop.example:8443", "127.0.0.2": ""}


@pytest.fixture(scope="module")
def proxied(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("proxied"),
        HOTSHELF_HTTP_TRUSTED_PROXIES="127.0.0.1/32",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(params=BASES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(proxied: RunningService, source: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {proxied.token()}", **FORWARDED}
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(
        base_url=proxied.url, headers=headers, timeout=30, transport=transport
    ) as connected:
        yield connected


def _key() -> dict[str, str]:
    return {"idempotency-key": uuid.uuid4().hex}


def _created(client: httpx.Client, version: int) -> httpx.Response:
    data: dict[str, Any] = {"data": {"n": 1}}
    if version == 2:
        data = {"data": {"type": "items", "attributes": {"n": 1}}}
    return client.post(f"/v{version}/items", json=data, headers=_key())


@pytest.mark.parametrize("version", [1, 2])
def test_location(client: httpx.Client, source: str, version: int) -> None:
    made = _created(client, version)
    assert made.status_code == 201
    assert made.headers["location"].startswith(f"{BASES[source]}/v{version}/items/")


def test_location_of_a_collection(
    proxied: RunningService, client: httpx.Client, source: str
) -> None:
    path = f"/v1/collections/c-{uuid.uuid4().hex}"
    admin = {"authorization": f"Bearer {proxied.token('olga', 'items:admin')}"}
    made = client.put(path, json={}, headers=admin | {"if-none-match": "*"})
    assert (made.status_code, made.headers["location"]) == (201, f"{BASES[source]}{path}")


def test_links_of_an_item(client: httpx.Client, source: str) -> None:
    made = _created(client, 2).json()["data"]
    path = f"/items/{made['id']}"
    expected = f"{BASES[source]}/v2{path}"
    assert made["links"]["self"] == expected
    wanted = {"accept": "application/vnd.api+json"}
    for way in (f"/v2{path}", f"/v1{path}", f"/v1{path}", f"/v2{path}?fields[items]=n"):
        read = client.get(way, headers=wanted)
        assert read.json()["data"]["links"]["self"] == expected
        plain = client.get(way, headers={**wanted, "x-forwarded-proto": "", "x-forwarded-host": ""})
        assert plain.json()["data"]["links"]["self"] == f"/v2{path}"
    known = client.get(f"/v2{path}", headers={"if-none-match": read.headers["etag"]})
    assert known.status_code in (200, 304)


def test_a_patch_tests_the_link_that_was_shown(client: httpx.Client, source: str) -> None:
    made = _created(client, 2)
    path = f"/v2/items/{made.json()['data']['id']}"
    shown = client.get(path).json()["data"]["links"]["self"]
    patch = [
        {"op": "test", "path": "/data/links/self", "value": shown},
        {"op": "replace", "path": "/data/attributes/n", "value": 2},
    ]
    headers = {"content-type": "application/json-patch+json", "if-match": made.headers["etag"]}
    changed = client.patch(path, json=patch, headers=headers)
    assert changed.status_code == 200
    assert changed.json()["data"]["links"]["self"] == shown


@pytest.mark.parametrize("version", [1, 2])
def test_links_of_a_list(client: httpx.Client, source: str, version: int) -> None:
    for _ in range(2):
        _created(client, version)
    size = "limit=1" if version == 1 else "page[size]=1"
    page = client.get(f"/v{version}/items?{size}")
    expected = f"{BASES[source]}/v{version}/items?"
    assert page.headers["link"].startswith(f"<{expected}")
    if version == 2:
        assert page.json()["links"]["next"].startswith(expected)
        assert page.json()["data"][0]["links"]["self"].startswith(f"{BASES[source]}/v2/items/")


@pytest.mark.parametrize("version", [1, 2])
def test_locations_in_a_batch(client: httpx.Client, source: str, version: int) -> None:
    create = {"op": "create", "data": {"n": 1}, "idempotency_key": uuid.uuid4().hex}
    accept = {"accept": f"application/vnd.api.v{version}+json"}
    answer = client.post(
        f"/v{version}/items:batch", json={"operations": [create]}, headers=accept
    ).json()
    (result,) = (answer if version == 1 else answer["meta"])["results"]
    assert result["location"].startswith(f"{BASES[source]}/v{version}/items/")


@pytest.mark.parametrize("host", ["evil/..", "a b", "u@evil", "x" * 300, "shop.example,"])
def test_an_invalid_host_is_ignored(client: httpx.Client, source: str, host: str) -> None:
    made = client.post(
        "/v1/items",
        json={"data": {}},
        headers={**_key(), "x-forwarded-host": host, "x-forwarded-proto": "gopher"},
    )
    assert made.headers["location"].startswith("/v1/items/")
