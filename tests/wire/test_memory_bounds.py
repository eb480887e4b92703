"""The bounds of docs/memory.md, exceeded by bodies that arrive slowly, plain and of batches.

The other rows: answers in test_unread_answers.py, tokens in tests/unit/access/test_token_cache.py,
patches in tests/unit/items/test_write_policy.py, limits in tests/contract/access, threads in
tests/unit/flow/test_offload.py, items in tests/unit/cache/test_near_cache.py, parsed fields in
tests/unit/api/headers/test_kept_fields.py.
"""

import contextlib
import re
import uuid
from collections.abc import Iterator

import httpx
import pytest

from bench.processes import resident_bytes, tree
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import Connection, eventually, request

MIB = 1 << 20
PART = b" " * 600_000
TARGETS = {"bodies": "/v1/items", "batches": "/v1/items:batch"}
WHOLE = {
    "bodies": b'{"data":{}}',
    "batches": b'{"operations":[{"op":"create","idempotency_key":"%s","data":{}}]}',
}


@pytest.fixture(scope="module")
def small(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """1 MiB of bodies, and as much of batches."""
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("bounds"),
        HOTSHELF_MEMORY_BODIES_MAX_BYTES=str(MIB),
        HOTSHELF_MEMORY_BATCHES_MAX_BYTES=str(MIB),
    )
    yield running
    assert running.stop() == 0


def _sample(small: RunningService, name: str, kind: str) -> int:
    text = httpx.get(f"{small.url}/metrics").text
    (found,) = re.findall(rf'{name}\{{kind="{kind}".*\}} ([0-9.e+]+)', text)
    return int(float(found))


def _begin(small: RunningService, kind: str, *framing: str) -> Connection:
    """A request whose body has begun and continues as long as the test needs."""
    connection = Connection(httpx.URL(small.url).port or 0)
    fields = (f"Authorization: Bearer {small.token()}", "Content-Type: application/json")
    key = f"Idempotency-Key: {uuid.uuid4().hex}"
    connection.send(request("POST", TARGETS[kind], *fields, key, *framing))
    chunked = b"%x\r\n%b\r\n" % (len(PART), PART)
    connection.send(chunked if "chunked" in framing[0] else PART)
    return connection


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("kind", TARGETS)
def test_bodies_that_are_being_read_are_bounded(
    small: RunningService, kind: str, framing: str
) -> None:
    refused = _sample(small, "hotshelf_memory_refused_total", kind)
    with _begin(small, kind, framing):
        eventually(lambda: _sample(small, "hotshelf_memory_bytes", kind) == len(PART))
        with _begin(small, kind, framing) as second:
            answer = second.answer()
            assert (answer.status, answer.problem["code"]) == (503, "overloaded")
            assert answer.problem["detail"] == f"The memory for {kind} is in use."
            assert int(answer.header("retry-after") or 0) >= 1
        assert _sample(small, "hotshelf_memory_bytes", kind) <= MIB
        assert _sample(small, "hotshelf_memory_refused_total", kind) == refused + 1
        # A small one fits beside it, and the other kind has room of its own.
        with small.client() as client:
            for target, body in zip(TARGETS.values(), WHOLE.values(), strict=True):
                key = uuid.uuid4().hex
                headers = {"content-type": "application/json", "idempotency-key": key}
                text = body.replace(b"%s", key[::-1].encode())
                assert client.post(target, content=text, headers=headers).status_code < 300
    eventually(lambda: _sample(small, "hotshelf_memory_bytes", kind) == 0)


def test_uploads_that_are_too_large_are_not_kept(small: RunningService) -> None:
    """Neither while clients send on without reading the refusal, nor after they have left."""
    fields = (f"Authorization: Bearer {small.token()}", "Content-Type: application/json")
    part = b"%x\r\n%b\r\n" % (len(PART), PART)
    before = _largest_process(small)
    for _ in range(6):
        with Connection(httpx.URL(small.url).port or 0) as connection:
            key = f"Idempotency-Key: {uuid.uuid4().hex}"
            head = request("POST", TARGETS["bodies"], *fields, key, "Transfer-Encoding: chunked")
            connection.send(head)
            # Until the service has closed the connection, 100 MB at most.
            with contextlib.suppress(OSError):
                for _ in range(100 * MIB // len(PART)):
                    connection.send(part)
        assert _largest_process(small) - before < 24 * MIB


def _largest_process(small: RunningService) -> int:
    return max(map(resident_bytes, tree(small.process.pid)))
