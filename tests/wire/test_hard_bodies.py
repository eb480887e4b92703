"""Bodies that are cut, chunked, slow or unasked for, on the real service and every way in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import Answer, Connection
from tests.fixtures.write_ways import JSON_PATCH, MERGE_PATCH, POST, PUT, WriteWay, new_item

CHUNKED = "Transfer-Encoding: chunked"

every_way = pytest.mark.parametrize(
    "way", [POST, PUT, MERGE_PATCH, JSON_PATCH], ids=["post", "put", "merge", "json-patch"]
)


@pytest.fixture(scope="module")
def impatient(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service that waits half a second for a body, and takes 2,000 bytes."""
    folder: Path = tmp_path_factory.mktemp("impatient")
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        folder,
        HOTSHELF_HTTP_BODY_TIMEOUT_S="0.5",
        HOTSHELF_HTTP_BODY_MAX_BYTES="2000",
    )
    yield running
    assert running.stop() == 0


class Sender:
    """Sends a write piece by piece, and sees what became of the item it was meant for."""

    def __init__(self, service: RunningService, way: WriteWay) -> None:
        self._client = service.client("hard-bodies")
        self._way = way
        self.url = new_item(self._client)
        self.connection = Connection(httpx.URL(service.url).port or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.__exit__()
        self._client.close()

    def send_head(self, *fields: str, key: str = "cut") -> None:
        own = (f"Idempotency-Key: {key}-{self.url[-26:]}", "If-Match: *")
        post = self._way.method == "POST"
        lines = [
            f"{self._way.method} {'/v1/items' if post else self.url} HTTP/1.1",
            "Host: test",
            f"Authorization: {self._client.headers['authorization']}",
            f"Content-Type: {self._way.media_type}",
            *own[:1],
            *([] if post else own[1:]),
            *fields,
        ]
        self.connection.send("\r\n".join([*lines, "", ""]).encode())

    def body(self, data: bytes) -> bytes:
        return self._way.before + data + self._way.after

    def answer(self) -> Answer:
        return self.connection.answer()

    def assert_unchanged(self) -> None:
        """Nothing was written; and a POST's key is still free for the whole body."""
        assert self._client.get(self.url).json()["version"] == 1
        with Connection(self._client.base_url.port or 0) as connection:
            self.connection, cut = connection, self.connection
            body = self.body(b'{"whole":1}')
            self.send_head(f"Content-Length: {len(body)}")
            connection.send(body)
            assert connection.answer().status in (200, 201)
            self.connection = cut


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@every_way
@pytest.mark.parametrize("sent", [0, 1, 20])
def test_a_body_cut_short_of_its_length_changes_nothing(
    service: RunningService, way: WriteWay, sent: int
) -> None:
    with Sender(service, way) as sender:
        body = sender.body(b'{"cut":1}')
        sender.send_head(f"Content-Length: {len(body) + 1}")
        sender.connection.send(body[:sent] if sent < 20 else body)
        sender.connection.end_sending()
        answer = sender.answer()
        assert (answer.status, answer.problem["code"]) == (400, "incomplete-body")
        sender.assert_unchanged()


@every_way
@pytest.mark.parametrize("tail", [b"", b"0\r\n", b"zz\r\n", b"5\r\nab", b"-1\r\n\r\n"])
def test_a_chunked_body_without_its_last_chunk_changes_nothing(
    service: RunningService, way: WriteWay, tail: bytes
) -> None:
    with Sender(service, way) as sender:
        sender.send_head(CHUNKED)
        sender.connection.send(_chunk(sender.body(b'{"cut":1}')) + tail)
        sender.connection.end_sending()
        answer = sender.answer()
        assert (answer.status, answer.problem["code"]) == (400, "incomplete-body")
        sender.assert_unchanged()


@every_way
def test_a_chunked_body_is_put_together(service: RunningService, way: WriteWay) -> None:
    with Sender(service, way) as sender:
        sender.send_head(CHUNKED, "Expect: 100-continue")
        assert sender.connection.line() == b"HTTP/1.1 100 Continue\r\n"
        assert sender.connection.line() == b"\r\n"
        for byte in sender.body(b'{"n":1.10}'):
            sender.connection.send(_chunk(bytes([byte])))
        sender.connection.send(b"0\r\n\r\n")
        answer = sender.answer()
        assert answer.status in (200, 201)
        assert b'"n": 1.10' in answer.body


@every_way
def test_a_slow_body_is_408_and_its_key_stays_free(
    impatient: RunningService, way: WriteWay
) -> None:
    with Sender(impatient, way) as sender:
        body = sender.body(b'{"slow":1}')
        sender.send_head(f"Content-Length: {len(body)}")
        sender.connection.send(body[:-1])
        answer = sender.answer()
        assert (answer.status, answer.problem["code"]) == (408, "body-timeout")
        assert sender.connection.is_closed()
        sender.assert_unchanged()


@every_way
def test_a_body_over_the_cap_is_refused_before_it_is_sent(
    service: RunningService, way: WriteWay
) -> None:
    with Sender(service, way) as sender:
        sender.send_head("Expect: 100-continue", f"Content-Length: {(1 << 20) + 1}")
        answer = sender.answer()
        assert (answer.status, answer.problem["code"]) == (413, "body-too-large")
        sender.assert_unchanged()
    with Sender(service, way) as sender:
        sender.send_head(CHUNKED)
        for _ in range(3):
            sender.connection.send(_chunk(b" " * (1 << 19)))
        assert sender.answer().status == 413


def test_a_slow_head_and_an_idle_connection_are_closed_without_an_answer(
    stack: EmbeddedStack, tmp_path: Path
) -> None:
    running = start_service(
        Stack(stack.shards, stack.redis_url), tmp_path, HOTSHELF_HTTP_IDLE_TIMEOUT_S="0.3"
    )
    port = httpx.URL(running.url).port or 0
    for sent in (b"", b"GET /livez HTTP/1.1\r\nHost:"):
        with Connection(port) as connection:
            connection.send(sent)
            assert connection.is_closed()
    with Connection(port) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.answer().status == 200
        assert connection.is_closed()
    assert running.stop() == 0


def test_the_cap_is_a_setting_for_patches_too(impatient: RunningService) -> None:
    with impatient.client("hard-bodies") as client:
        text = b'{"t":"' + b"x" * 1500 + b'"}'
        url = new_item(client, text)
        assert POST.send(client, text[:-2] + b"x" * 600 + b'"}').status_code == 413
        grown = MERGE_PATCH.send(client, b'{"u":"' + b"x" * 600 + b'"}', url=url)
        assert (grown.status_code, grown.json()["code"]) == (422, "patch-result-invalid")
        assert MERGE_PATCH.send(client, b'{"u":"' + b"x" * 400 + b'"}', url=url).status_code == 200


@every_way
def test_a_bad_head_is_refused_before_the_body_is_sent(
    service: RunningService, way: WriteWay
) -> None:
    for field, status in (
        ("Accept: a/b", 406),
        ("If-Match: bad", 400),
        ("Content-Encoding: br", 415),
    ):
        if way is POST and field.startswith("If-Match"):
            continue
        with Sender(service, way) as sender:
            sender.send_head("Expect: 100-continue", "Content-Length: 100", field)
            assert sender.answer().status == status
            sender.assert_unchanged()


@pytest.mark.parametrize("framing", ["Content-Length: 9", CHUNKED])
@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_an_unexpected_body_is_not_the_next_request(
    service: RunningService, method: str, framing: str
) -> None:
    with service.client("hard-bodies") as client:
        url = new_item(client)
        authorization = f"Authorization: {client.headers['authorization']}"
    head = f"{method} {url} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n{framing}\r\n\r\n".encode()
    body = b"GET /x \r\n" if framing[0] == "C" else _chunk(b"GET /x \r\n") + b"0\r\n\r\n"
    following = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with Connection(httpx.URL(service.url).port or 0) as connection:
        connection.send(head + body + following)
        assert connection.answer().status in (200, 204)
        assert connection.answer().body.startswith(b"{")


@pytest.mark.parametrize(
    "framing",
    [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: ",
        "Transfer-Encoding : chunked",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Content-Length: 0x5",
        "Content-Length: 99999999999999999999999",
    ],
)
def test_framing_that_could_be_read_in_two_ways_is_refused(
    service: RunningService, framing: str
) -> None:
    """RFC 9112 section 6: the body is sound in one reading, and never stored."""
    with Sender(service, POST) as sender:
        sender.send_head(*framing.split("\r\n"))
        sender.connection.send(_chunk(sender.body(b"{}")) + b"0\r\n\r\n")
        assert sender.connection.answer().status in (400, 413)
        # What follows may be read in two ways as well.
        assert sender.connection.is_closed()
        sender.assert_unchanged()
