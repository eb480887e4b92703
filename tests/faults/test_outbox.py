"""Committed changes reach Redis: by their writer, by any worker's relay, or late."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import redis

from service import native
from service.cache.layout import INVALIDATION, KIND_AT
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.redis_server import in_run
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import execute

JSON = {"content-type": "application/json"}
PENDING = "SELECT count(*) FROM cache_outbox"


@pytest.fixture
def running(small_stack: EmbeddedStack, tmp_path: Path) -> Iterator[RunningService]:
    running = start_service(Stack(small_stack.shards, small_stack.redis_url), tmp_path)
    yield running
    assert running.stop() == 0


def _create(client: httpx.Client) -> str:
    headers = JSON | {"idempotency-key": uuid4().hex}
    location: str = client.post("/v1/items", content='{"data":{}}', headers=headers).headers[
        "location"
    ]
    return location


def _change(client: httpx.Client, method: str, url: str) -> None:
    headers = JSON | {"if-match": "*"}
    content = '{"data":{"changed":true}}' if method == "PUT" else ""
    assert client.request(method, url, content=content, headers=headers).status_code in (200, 204)


def _cached(stack: EmbeddedStack, url: str) -> bytes | None:
    item_id = native.parse_id(url.rpartition("/")[2])
    assert item_id is not None
    with redis.Redis.from_url(stack.redis_url) as client:
        value: bytes | None = client.get(in_run(client, b"item:", item_id))
        return value


def _pending(stack: EmbeddedStack) -> int:
    return int(str(execute(stack.shards[0][0], PENDING)[0][0]))


def _until_none_is_pending(stack: EmbeddedStack) -> int:
    for _ in range(100):
        if not _pending(stack):
            break
        time.sleep(0.05)
    return _pending(stack)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_is_announced_before_it_is_acknowledged(
    small_stack: EmbeddedStack, running: RunningService, method: str
) -> None:
    with running.client() as client:
        url = _create(client)
        assert _cached(small_stack, url) is None
        _change(client, method, url)
        invalidation = _cached(small_stack, url)
    assert invalidation is not None
    assert invalidation[KIND_AT] == INVALIDATION
    assert int.from_bytes(invalidation[4:12]) == 2
    assert _until_none_is_pending(small_stack) == 0


def test_rows_of_a_dead_writer_are_relayed(
    small_stack: EmbeddedStack, running: RunningService
) -> None:
    with running.client() as client:
        url = _create(client)
    item_id = native.parse_id(url.rpartition("/")[2])
    assert item_id is not None
    execute(
        small_stack.shards[0][0],
        "INSERT INTO cache_outbox SELECT id, 7, cache_epoch(0)"
        f" FROM items WHERE id = '{item_id.hex()}'",
    )
    assert _until_none_is_pending(small_stack) == 0
    invalidation = _cached(small_stack, url)
    assert invalidation is not None
    assert int.from_bytes(invalidation[4:12]) == 7


def test_without_redis_changes_wait_for_it(
    small_stack: EmbeddedStack, running: RunningService
) -> None:
    with running.client() as client:
        url = _create(client)
        small_stack.redis.kill()
        _change(client, "PUT", url)
        assert _pending(small_stack) == 1
        small_stack.redis.restart()
        assert _until_none_is_pending(small_stack) == 0
        invalidation = _cached(small_stack, url)
        assert invalidation is not None
        assert invalidation[KIND_AT] == INVALIDATION


def test_without_any_redis_nothing_piles_up(small_stack: EmbeddedStack, tmp_path: Path) -> None:
    stack = Stack(small_stack.shards, small_stack.redis_url)
    running = start_service(stack, tmp_path, HOTSHELF_REDIS_URL="")
    try:
        with running.client() as client:
            _change(client, "PUT", _create(client))
        assert _until_none_is_pending(small_stack) == 0
    finally:
        assert running.stop() == 0
