"""Reads through Redis and the near cache, as clients see them."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import redis

from service import native
from service.cache.layout import INVALIDATION, ITEM, KIND_AT
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.decompression import DECOMPRESS
from tests.fixtures.redis_server import in_run
from tests.fixtures.running import RunningService, start_service

JSON = {"content-type": "application/json"}
LARGE = '{"data":{"text":"' + "a shelf that is hot " * 200 + '"}}'


def _create(client: httpx.Client, body: str = '{"data":{"n":1}}') -> httpx.Response:
    headers = JSON | {"idempotency-key": uuid4().hex}
    answer = client.post("/v1/items", content=body, headers=headers)
    assert answer.status_code == 201
    return answer


def _kind(stack: EmbeddedStack, url: str) -> int | None:
    item_id = native.parse_id(url.rpartition("/")[2])
    assert item_id is not None
    with redis.Redis.from_url(stack.redis_url) as client:
        value = client.get(in_run(client, b"item:", item_id))
    return None if value is None else int(value[KIND_AT])


def _until_cached(stack: EmbeddedStack, url: str) -> int | None:
    for _ in range(100):
        if _kind(stack, url) == ITEM:
            break
        time.sleep(0.02)
    return _kind(stack, url)


def test_a_read_fills_and_a_write_invalidates(
    stack: EmbeddedStack, service: RunningService
) -> None:
    with service.client("alice") as alice, service.client("bob") as bob:
        created = _create(alice)
        url = created.headers["location"]
        assert bob.get(url).content == created.content
        assert _until_cached(stack, url) == ITEM
        assert bob.get(url).content == created.content
        headers = JSON | {"if-match": created.headers["etag"]}
        replaced = alice.put(url, content='{"data":{"n":2}}', headers=headers)
        assert _kind(stack, url) == INVALIDATION
        assert alice.get(url).content == bob.get(url).content == replaced.content


def test_every_worker_shows_the_owner_its_own_write(service: RunningService) -> None:
    with service.client("alice") as alice, service.client("bob") as bob:
        url = _create(alice).headers["location"]
        for n in range(2, 12):
            for _ in range(3):
                bob.get(url)  # keeps entries and near caches warm
            alice.put(url, content=f'{{"data":{{"n":{n}}}}}', headers=JSON | {"if-match": "*"})
            for _ in range(6):
                with service.client("alice") as other:  # a new connection: any worker
                    assert other.get(url).json()["version"] == n
            for _ in range(6):
                with service.client("bob") as other:
                    seen = other.get(url).json()["version"]
                    assert seen in (n, n - 1)
            time.sleep(0.1)
            assert bob.get(url).json()["version"] == n


def test_a_missing_item_is_found_once_created(service: RunningService) -> None:
    item_id = native.format_id(native.mint_in_bucket(1_700_000_000_000, 0, 1))
    url = f"/v1/items/{item_id}"
    with service.client("alice") as alice, service.client("bob") as bob:
        for version in (1, 3):
            assert [bob.get(url).status_code for _ in range(4)] == [404] * 4
            headers = JSON | {"if-none-match": "*"}
            assert alice.put(url, content='{"data":{}}', headers=headers).status_code == 201
            for client in (alice, bob, alice, bob):
                assert client.get(url).json()["version"] == version
            assert alice.delete(url).status_code == 204
            assert alice.get(url).status_code == 404


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_large_body_travels_compressed_under_a_tag_of_its_own(
    service: RunningService, coding: str
) -> None:
    with service.client("alice") as alice, service.client("bob") as bob:
        url = _create(alice, LARGE).headers["location"]
        plain = bob.get(url, headers={"accept-encoding": "identity"})
        with bob.stream("GET", url, headers={"accept-encoding": coding}) as compressed:
            body = b"".join(compressed.iter_raw())
        assert compressed.headers["content-encoding"] == coding
        assert int(compressed.headers["content-length"]) == len(body) < len(plain.content)
        assert DECOMPRESS[coding](body) == plain.content
        assert compressed.headers["etag"] == plain.headers["etag"][:-1] + f'-{coding}"'
        known = {"accept-encoding": coding, "if-none-match": compressed.headers["etag"]}
        again = bob.get(url, headers=known)
        assert (again.status_code, again.headers["etag"]) == (304, compressed.headers["etag"])
        head = bob.head(url, headers={"accept-encoding": coding})
        assert head.headers["content-length"] == compressed.headers["content-length"]
        changed = alice.put(
            url, content=LARGE, headers=JSON | {"if-match": compressed.headers["etag"]}
        )
        assert changed.status_code == 200


def test_a_small_body_travels_as_it_is(service: RunningService) -> None:
    with service.client() as client:
        url = _create(client).headers["location"]
        answer = client.get(url, headers={"accept-encoding": "br, gzip, zstd"})
    assert "content-encoding" not in answer.headers


def test_every_coding_may_be_refused_but_not_all(service: RunningService) -> None:
    with service.client() as client:
        url = _create(client).headers["location"]
        answer = client.get(url, headers={"accept-encoding": "identity;q=0"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")


@pytest.fixture
def own(small_stack: EmbeddedStack, tmp_path: Path) -> Iterator[RunningService]:
    stack = Stack(small_stack.shards, small_stack.redis_url)
    running = start_service(stack, tmp_path)
    yield running
    assert running.stop() == 0


def test_cached_reads_go_on_without_any_database(
    small_stack: EmbeddedStack, own: RunningService
) -> None:
    with own.client("alice") as alice, own.client("bob") as bob:
        created = _create(alice)
        url = created.headers["location"]
        bob.get(url)
        assert _until_cached(small_stack, url) == ITEM
        nodes = [small_stack.node(0, n) for n in range(2)]
        for node in nodes:
            node.pause()
        try:
            assert bob.get(url).content == created.content
            time.sleep(6)  # the near cache has let go of it
            assert bob.get(url).content == created.content
        finally:
            for node in nodes:
                node.resume()
        with own.client("alice") as again:
            assert again.get(url).content == created.content
