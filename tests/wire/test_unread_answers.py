"""Unread answers: counted, bounded, and dropped after a time."""

import json
import re
import socket
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import eventually

MIB = 1 << 20
ITEM_BYTES = 900_000
# As many items as fit into 4 MiB.
PAGE = "/v1/items?limit=1000&filter[owner_id]=slow%20reader"


@pytest.fixture(scope="module")
def small(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Clients have 2 s; 32 MiB of answers may wait, 8 of one caller."""
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("unread"),
        HOTSHELF_HTTP_SEND_TIMEOUT_S="2",
        HOTSHELF_MEMORY_ANSWERS_MAX_BYTES=str(32 * MIB),
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def url(small: RunningService) -> str:
    """One of several items, each larger than what the kernel keeps for a client."""
    with small.client("slow reader") as client:
        urls = [_made(client) for _ in range(6)]
    return urls[0]


def _made(client: httpx.Client) -> str:
    made = client.post(
        "/v1/items",
        json={"data": {"text": "x" * ITEM_BYTES}},
        headers={"idempotency-key": uuid.uuid4().hex},
    )
    assert made.status_code == 201
    return f"/v1/items/{made.json()['id']}"


def _ask(
    small: RunningService, target: str, caller: str, window_bytes: int = 4096
) -> socket.socket:
    """A request whose answer is left unread, on a connection with a small window."""
    asked = socket.socket()
    asked.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    asked.settimeout(30)
    asked.connect(("127.0.0.1", int(small.url.rsplit(":", 1)[1])))
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n"
    asked.sendall(f"{head}Authorization: Bearer {small.token(caller)}\r\n\r\n".encode())
    # Its first bytes: it is on its way.
    assert asked.recv(15, socket.MSG_PEEK) in (b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Se"), asked.recv(
        999
    )
    return asked


def _read(asked: socket.socket, size: int, pause_s: float = 0.0) -> None:
    """Read on to the end of the connection; ConnectionError if it is cut."""
    while asked.recv(size):
        time.sleep(pause_s)
    raise ConnectionAbortedError


def _held(small: RunningService) -> int:
    text = httpx.get(f"{small.url}/metrics").text
    (found,) = re.findall(r'hotshelf_memory_bytes\{kind="answers".*\} ([0-9.e+]+)', text)
    return int(float(found))


def test_an_answer_that_is_taken_is_whole_and_no_longer_counted(
    small: RunningService, url: str
) -> None:
    with small.client() as client:
        for _ in range(3):  # from the database, from Redis, from memory
            answer = client.get(url, headers={"accept-encoding": "identity"})
            assert len(answer.content) > ITEM_BYTES
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert answer.json()["data"] == {"text": "x" * ITEM_BYTES}
        assert client.get(url.replace("v1", "v2")).json()["data"]["type"] == "items"
    eventually(lambda: _held(small) == 0)


def test_a_client_that_reads_nothing_loses_the_connection(small: RunningService, url: str) -> None:
    # Larger than the kernel's largest send buffer.
    with _ask(small, PAGE, "nobody reads") as asked:
        assert _first_line(asked) == "HTTP/1.1 200 OK", asked.recv(2000)
        assert _held(small) > 3 * MIB, asked.recv(600)[:600]
        eventually(lambda: _held(small) == 0)
        with pytest.raises(ConnectionResetError):
            _read(asked, MIB)


def test_a_client_that_reads_too_slowly_loses_it_too(small: RunningService, url: str) -> None:
    """A little now and then may keep the kernel quiet; the answer as a whole has an end."""
    with _ask(small, PAGE, "trickle", 262_144) as asked:
        assert _first_line(asked) == "HTTP/1.1 200 OK", asked.recv(2000)
        assert _held(small) > 3 * MIB, asked.recv(600)[:600]
        with pytest.raises(ConnectionError):
            _read(asked, 65_536, pause_s=0.4)
    eventually(lambda: _held(small) == 0)


def test_unread_answers_are_bounded_and_others_are_answered(
    small: RunningService, url: str
) -> None:
    waiting = [_ask(small, PAGE, "hoarder") for _ in range(6)]
    assert "503 Service Unavailable" in _first_line(waiting[-1])
    assert _held(small) <= 8 * MIB
    with small.client("somebody else") as client:
        assert client.get(url).status_code == 200
    for each in waiting:
        each.close()
    eventually(lambda: _held(small) == 0)


def test_behind_one_address_each_caller_has_a_share(small: RunningService, url: str) -> None:
    """Read by id, so by the hot path, which knows the caller as well."""
    with small.client("hot hoarder") as client:
        for _ in range(3):  # from memory in the end
            assert client.get(url, headers={"accept-encoding": "identity"}).status_code == 200
    waiting = [_ask(small, url, "hot hoarder") for _ in range(10)]
    assert "503 Service Unavailable" in _first_line(waiting[-1])
    with _ask(small, url, "a neighbour") as asked:
        assert _first_line(asked) == "HTTP/1.1 200 OK"
    for each in waiting:
        each.close()
    eventually(lambda: _held(small) == 0)


def _first_line(asked: socket.socket) -> str:
    return asked.recv(200, socket.MSG_PEEK).split(b"\r\n")[0].decode()


def test_an_error_is_small_enough_to_be_sent(small: RunningService, url: str) -> None:
    waiting = [_ask(small, PAGE, "told") for _ in range(2)]
    assert _held(small) > 3 * MIB, waiting[0].recv(600)[:600]
    with small.client("told") as client:
        refused = client.get(PAGE, headers={"accept-encoding": "identity"})
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert json.loads(refused.content)["detail"] == "The memory for answers is in use."
    for each in waiting:
        each.close()
