"""The rules of HTTP itself, and the limits: over sockets, against a toy application."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator

import pytest

from service.process.serve import ServeOptions
from tests.fixtures.toy_service import BODY_MAX_BYTES
from tests.fixtures.wire import Connection, Server, request

CHUNKED = "Transfer-Encoding: chunked"
GZIP = "Content-Encoding: gzip"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ServeOptions(app_target="tests.fixtures.toy_service:application")
    folder = tmp_path_factory.mktemp("toy")
    with Server.serving(options, folder, TOY_BODY_TIMEOUT_S="0.5") as running:
        yield running


# As long as an id is; what is shorter or longer is for the routes.
ID = "a" * 26


def test_get_of_an_item_takes_the_hot_path_in_every_version(server: Server) -> None:
    for prefix, query in (("", ""), ("/v1", ""), ("/v2", ""), ("/%761", "?x=1")):
        answer = server.ask(request("GET", f"{prefix}/items/{ID}{query}"))
        assert answer.body == f"item {ID}".encode()
    for method, item_id in (("PUT", ID), ("GET", ID[1:]), ("GET", f"{ID}a")):
        assert server.ask(request(method, f"/v1/items/{item_id}")).status == 404


def test_head_is_get_without_the_body(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(request("HEAD", f"/v1/items/{ID}", "X-Request-Id: r"))
        head = connection.answer(to_head=True)
        connection.send(request("GET", f"/v1/items/{ID}", "X-Request-Id: r"))
        get = connection.answer()
    assert get.body == f"item {ID}".encode()
    without_date = [[f for f in answer.fields if f[0] != "date"] for answer in (head, get)]
    assert sorted(without_date[0]) == sorted(without_date[1])


def test_no_content_has_no_length(server: Server) -> None:
    answer = server.ask(request("GET", "/nothing"))
    assert answer.status == 204
    assert answer.header("content-length") is None


@pytest.mark.parametrize(
    "target",
    ["/pid/", "//pid", "/echo//x", "/a%25b", "/a%ff", "/a%00", "/v1/items/a%2Fb", "/%2570id"],
)
def test_paths_that_name_nothing(server: Server, target: str) -> None:
    answer = server.ask(request("GET", target))
    assert (answer.status, answer.problem["code"]) == (404, "no-such-route")


def test_a_field_that_is_not_ascii_is_refused_by_name(server: Server) -> None:
    answer = server.ask(request("GET", "/pid", 'If-Match: "\xfc"'))
    assert (answer.status, answer.problem["code"]) == (400, "invalid-header")
    assert answer.problem["errors"] == [{"header": "if-match", "detail": "Only ASCII is accepted."}]


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: a\r\n"])
def test_no_host_and_two_hosts(server: Server, hosts: bytes) -> None:
    answer = server.ask(b"GET /pid HTTP/1.1\r\n" + hosts + b"\r\n")
    assert (answer.status, answer.problem["code"]) == (400, "invalid-header")


@pytest.mark.parametrize("sent", ["a", "x" * 128, "4bf9-2f:3/577+b3=4.d_a~6@"])
def test_request_id_is_echoed(server: Server, sent: str) -> None:
    answer = server.ask(request("GET", "/nowhere", f"X-Request-Id: {sent}"))
    assert answer.header("x-request-id") == sent == answer.problem["request_id"]


def test_a_good_answer_names_the_request_where_it_was_named(server: Server) -> None:
    sent = server.ask(request("GET", "/pid", "X-Request-Id: mine"))
    assert (sent.status, sent.header("x-request-id")) == (200, "mine")
    assert server.ask(request("GET", "/pid")).header("x-request-id") is None


@pytest.mark.parametrize(
    "fields", [[], ["X-Request-Id: " + "x" * 129], ["X-Request-Id: a b"], ["X-Request-Id: "],
               ["X-Request-Id: a", "X-Request-Id: b"]]
)  # fmt: skip
def test_request_id_is_fresh(server: Server, fields: list[str]) -> None:
    first, second = (server.ask(request("GET", "/nowhere", *fields)) for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first.header("x-request-id") or "")
    assert first.header("x-request-id") != second.header("x-request-id")


def test_an_unexpected_error_is_a_plain_500_and_is_logged(server: Server) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    fields = ["X-Request-Id: the-broken-one", f"traceparent: 00-{trace}-00f067aa0ba902b7-01"]
    answer = server.ask(request("GET", "/boom", *fields))
    assert (answer.status, answer.problem["code"]) == (500, "internal-error")
    assert b"toy" not in answer.body
    told = [line for line in server.log.read_text().splitlines() if "request-failed" in line]
    line = json.loads(told[-1])
    assert (line["request_id"], line["trace_id"]) == ("the-broken-one", trace)
    assert line["error"] == "RuntimeError"
    assert line["where"][-1].startswith("tests/fixtures/toy_service.py:")
    assert "a fault of the toy" not in server.log.read_text()


def test_peer_is_an_address_without_port(server: Server) -> None:
    assert server.ask(request("GET", "/peer")).body == b"127.0.0.1"


# Bodies


def test_bodies_arrive_whole_and_the_connection_stays_open(server: Server) -> None:
    big = bytes(range(256)) * (BODY_MAX_BYTES // 256)
    with Connection(server.port) as connection:
        for body in (b"", b"x", big):
            connection.send(request("POST", "/echo", body=body))
            assert connection.answer().body == body
        connection.send(request("POST", "/echo", CHUNKED) + b"3\r\nabc\r\n")
        connection.send(b"2;ext=1\r\nde\r\n0\r\n\r\n")
        assert connection.answer().body == b"abcde"
        connection.send(request("POST", "/echo", CHUNKED) + b"0\r\n\r\n")
        assert connection.answer().body == b""


def test_repeated_equal_lengths_are_one(server: Server) -> None:
    answer = server.ask(request("POST", "/echo", "Content-Length: 1", body=b"x"))
    assert (answer.status, answer.body) == (200, b"x")


def test_100_continue_comes_when_the_body_is_wanted(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(request("POST", "/echo", "Expect: 100-continue", "Content-Length: 3"))
        assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.line() == b"\r\n"
        connection.send(b"abc")
        assert connection.answer().body == b"abc"


def test_an_announced_body_over_the_cap_is_refused_before_it_is_sent(server: Server) -> None:
    with Connection(server.port) as connection:
        length = f"Content-Length: {BODY_MAX_BYTES + 1}"
        connection.send(request("POST", "/echo", "Expect: 100-continue", length))
        answer = connection.answer()
        assert (answer.status, answer.problem["code"]) == (413, "body-too-large")
        assert answer.problem["max_bytes"] == BODY_MAX_BYTES
        assert connection.is_closed()


def test_a_client_that_sends_all_of_a_refused_body_sees_the_413(server: Server) -> None:
    """Also one that does not read before it has sent all (RFC 9112 section 9.6)."""
    for size in (BODY_MAX_BYTES + 1, 3 << 20, 8 << 20):
        body = b"x" * size
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        announced = request("POST", "/echo", body=body)
        for sent in (announced, request("POST", "/echo", CHUNKED) + chunks):
            with Connection(server.port) as connection:
                connection.send(sent)
                assert connection.answer().status == 413


def test_a_chunked_body_is_refused_where_it_crosses_the_cap(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(request("POST", "/echo", CHUNKED))
        half = BODY_MAX_BYTES // 2 + 1
        for _ in range(2):
            connection.send(b"%x\r\n" % half + b"x" * half + b"\r\n")
        assert connection.answer().status == 413
        assert connection.is_closed()


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        (["Content-Length: 5"], b""),
        (["Content-Length: 5"], b"abc"),
        ([CHUNKED], b""),
        ([CHUNKED], b"5\r\nabc"),
        ([CHUNKED], b"3\r\nabc\r\n"),
        ([CHUNKED], b"3\r\nabc\r\n0\r\n"),
        ([CHUNKED], b"3\r\nabc\r\nzz\r\n"),
        ([CHUNKED], b"3\r\nabcdef\r\n0\r\n\r\n"),
    ],
)
def test_a_body_that_ends_early_or_is_malformed(
    server: Server, fields: list[str], sent: bytes
) -> None:
    with Connection(server.port) as connection:
        connection.send(request("POST", "/echo", *fields) + sent)
        connection.end_sending()
        answer = connection.answer()
        assert (answer.status, answer.problem["code"]) == (400, "incomplete-body")


def test_trailer_fields_are_refused(server: Server) -> None:
    """RFC 9110 section 6.5.1 lets them be dropped, but Granian shows them as it does a cut body."""
    body = b"3\r\nabc\r\n0\r\ntrailer: x\r\n\r\n"
    answer = server.ask(request("POST", "/echo", CHUNKED) + body)
    assert (answer.status, answer.problem["code"]) == (400, "incomplete-body")


def test_a_slow_body_is_408(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(request("POST", "/echo", "Content-Length: 5") + b"abc")
        answer = connection.answer()
        assert (answer.status, answer.problem["code"]) == (408, "body-timeout")
        assert connection.is_closed()


def test_an_unread_body_does_not_become_the_next_request(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(request("POST", "/unread", body=request("GET", "/boom")))
        connection.send(request("GET", "/pid"))
        assert connection.answer().body == b"not read"
        assert connection.answer().status == 200


def test_gzip_is_decompressed(server: Server) -> None:
    text = b"some text " * 1000
    for coding in ("gzip", "GZIP", "x-gzip"):
        compressed = gzip.compress(text)
        answer = server.ask(
            request("POST", "/echo", f"Content-Encoding: {coding}", body=compressed)
        )
        assert answer.body == text
    members = b"".join(gzip.compress(part) for part in (b"a", b"", b"b" * 20_000))
    assert server.ask(request("POST", "/echo", GZIP, body=members)).body == b"a" + b"b" * 20_000
    exactly = gzip.compress(b"\0" * BODY_MAX_BYTES)
    assert len(server.ask(request("POST", "/echo", GZIP, body=exactly)).body) == BODY_MAX_BYTES


def test_identity_is_no_coding(server: Server) -> None:
    for value in ("identity", ""):
        answer = server.ask(request("POST", "/echo", f"Content-Encoding: {value}", body=b"x"))
        assert answer.body == b"x"


def test_gzip_counts_decompressed(server: Server) -> None:
    for bomb in (b"\0" * (BODY_MAX_BYTES + 1), b"\0" * 50_000_000):
        answer = server.ask(request("POST", "/echo", GZIP, body=gzip.compress(bomb)))
        assert (answer.status, answer.problem["code"]) == (413, "body-too-large")


def test_very_many_members_are_fine(server: Server) -> None:
    empty = zlib.compressobj(wbits=31).flush()
    body = empty * (BODY_MAX_BYTES // len(empty))
    assert server.ask(request("POST", "/echo", GZIP, body=body)).body == b""


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        gzip.compress(b"text", mtime=0)[:-1],
        gzip.compress(b"text", mtime=0) + b"trailing",
        gzip.compress(b"text", mtime=0) + gzip.compress(b"text", mtime=0)[:12],
        gzip.compress(b"text", mtime=0)[:-8] + b"\0" * 8,
        zlib.compress(b"text"),
    ],
)
def test_not_the_gzip_it_says(server: Server, body: bytes) -> None:
    answer = server.ask(request("POST", "/echo", GZIP, body=body))
    assert (answer.status, answer.problem["code"]) == (400, "invalid-syntax")


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_codings_are_415(server: Server, coding: str) -> None:
    answer = server.ask(request("POST", "/echo", f"Content-Encoding: {coding}", body=b"x"))
    assert (answer.status, answer.problem["code"]) == (415, "unsupported-media-type")
    assert answer.header("accept-encoding") == "gzip, identity"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /pid HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /pid HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 101 + b"\r\n", 431),
        (b"GET /" + b"x" * 66_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /pid\r\n\r\n", 400),
        (b"GET /pid HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    ],
)
def test_unparsable_requests(server: Server, raw: bytes, status: int) -> None:
    """Granian answers them itself, with an empty body."""
    with Connection(server.port) as connection:
        connection.send(raw)
        answer = connection.answer()
        assert (answer.status, answer.body) == (status, b"")
        assert connection.is_closed()
