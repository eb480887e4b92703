"""Generated requests: what is accepted is read back equal, and nothing ends in a 5xx."""

import json
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import Connection
from tests.fixtures.write_ways import JSON_PATCH, MERGE_PATCH, POST, PUT, WriteWay, new_item

bounded = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

WAYS = st.sampled_from([POST, PUT, MERGE_PATCH, JSON_PATCH])


class Token(str):
    """JSON text that is written as it is."""


NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?(0{0,3}[0-9]{1,2}|9[0-9]{2}|1[0-9]{3,5}))?",
    fullmatch=True,
).map(Token)
# Surrogates and NUL too, which cannot be stored.
TEXTS = st.text(st.characters(), max_size=8) | st.text(st.sampled_from('\0\ud800\udc00a~/\\"é'))
SCALARS = NUMBERS | TEXTS | st.sampled_from([None, True, False, "NaN", "1e400"])
OBJECTS = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=10,
    ),
    max_size=4,
)


def _text(value: Any, ascii_only: bool) -> str:
    match value:
        case Token():
            return str(value)
        case list():
            return "[" + " , ".join(_text(element, ascii_only) for element in value) + "]"
        case dict():
            members = (
                json.dumps(name, ensure_ascii=ascii_only) + ":\t" + _text(member, ascii_only)
                for name, member in value.items()
            )
            return "{\n" + ",".join(members) + "}"
    return json.dumps(value, ensure_ascii=ascii_only)


def _meaning(text: str | bytes) -> Any:
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def _merged(value: Any) -> Any:
    """The result of a merge patch on an empty object: null members are absent (RFC 7396)."""
    if not isinstance(value, dict):
        return value
    return {name: _merged(member) for name, member in value.items() if member is not None}


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("generated") as client:
        yield client


@given(data=OBJECTS, ascii_only=st.booleans(), way=WAYS)
@bounded
def test_any_object_is_read_back_equal_or_refused(
    client: httpx.Client, data: dict[str, Any], ascii_only: bool, way: WriteWay
) -> None:
    text = _text(data, ascii_only)
    answer = way.send(client, text.encode("utf-8", "surrogatepass"))
    if answer.status_code in (200, 201):
        read = _meaning(client.get(f"/v1/items/{answer.json()['id']}").content)["data"]
        sent = _meaning(text)
        assert read == (_merged(sent) if way is MERGE_PATCH else sent)
    else:
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["errors"]
        assert _is_unstorable(data)


def _is_unstorable(value: Any) -> bool:
    match value:
        case Token():
            return sum(letter.isdigit() for letter in f"{Decimal(value):f}") > 1000
        case str():
            return any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
        case list():
            return any(map(_is_unstorable, value))
        case dict():
            return any(map(_is_unstorable, [*value, *value.values()]))
    return False


@given(body=st.binary(max_size=200), way=WAYS, compressed=st.booleans())
@bounded
def test_any_bytes_as_a_body(
    client: httpx.Client, body: bytes, way: WriteWay, compressed: bool
) -> None:
    answer = way.send_body(client, body, content_encoding="gzip" if compressed else None)
    assert answer.status_code in (400, 422) or answer.is_success, answer.text


# Requests that are nearly right, sent as they are

SKELETONS = [
    b"GET {url} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nAccept: application/json\r\n"
    b'If-None-Match: W/"1-00000000", "x"\r\n\r\n',
    b"GET {url}?fields=a,b HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n"
    b"Accept-Encoding: gzip;q=0.5, br\r\n\r\n",
    b"POST /v1/items HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Type: "
    b'application/json; charset=utf-8\r\nIdempotency-Key: "k"\r\nPrefer: return=minimal\r\n'
    b'Content-Length: 29\r\n\r\n{"data":{"a":[1.5,"\\u00e9"]}}',
    b"PUT {url} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Type: application/json\r\n"
    b'If-Match: *\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{"data":{}}\r\n0\r\n\r\n',
    b"PATCH {url} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nIf-Match: *\r\nContent-Type: "
    b"application/json-patch+json\r\nContent-Length: 43\r\n\r\n"
    b'[{"op":"add","path":"/data/a","value":1.0}] ',
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n",
    b"DELETE {url} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nX-Idempotency-Key: a\r\n"
    b'If-Match: "1-00000000", *\r\n\r\n',
]
PIECES = [
    *(
        b"\0",
        b"\r\n",
        b"\n",
        b" ",
        b"\t",
        b"%",
        b"%00",
        b"%ff",
        b"/",
        b"//",
        b"?",
        b"&",
        b"#",
        b'"',
    ),
    *(
        b",",
        b";",
        b":",
        b"=",
        b"*",
        b"W/",
        b"q=",
        b"-",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\u0000",
        b"\xff",
    ),
    *(b"1e9999", b"9" * 40, b"\xe2\x82\xac", b"x" * 300, b"\r\nX: y", b"\r\n\r\n", b"HTTP/1.0"),
]
Edits = list[tuple[str, float, int, bytes]]
EDITS: st.SearchStrategy[Edits] = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "double"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 12),
        st.sampled_from(PIECES),
    ),
    max_size=3,
)


def _edited(request: bytes, edits: Edits) -> bytes:
    for kind, where, length, piece in edits:
        at = int(where * len(request))
        end = at + length
        match kind:
            case "insert":
                request = request[:at] + piece + request[at:]
            case "delete":
                request = request[:at] + request[end:]
            case "replace":
                request = request[:at] + piece + request[end:]
            case "double":
                request = request[:end] + request[at:]
    return request


@pytest.fixture(scope="module")
def impatient(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service that does not wait long for what an edit cut away."""
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("impatient"),
        HOTSHELF_HTTP_BODY_TIMEOUT_S="0.1",
        HOTSHELF_HTTP_IDLE_TIMEOUT_S="0.1",
    )
    yield running
    assert b"Traceback" not in running.log.read_bytes()
    assert running.stop() == 0


def _status(service: RunningService, skeleton: bytes, edits: Edits) -> int | None:
    """The first status; None if the connection was closed without an answer."""
    with service.client("generated") as client:
        url = new_item(client).encode()
        auth = client.headers["authorization"].encode()
    request = _edited(skeleton.replace(b"{url}", url).replace(b"{auth}", auth), edits)
    line = b""
    with Connection(httpx.URL(service.url).port or 0) as connection, suppress(OSError):
        connection.send(request)
        line = connection.line()
    assert not line or line.startswith(b"HTTP/1."), (line, request)
    return int(line.split()[1]) if line else None


def test_the_requests_are_right_before_they_are_edited(impatient: RunningService) -> None:
    statuses = [_status(impatient, skeleton, []) for skeleton in SKELETONS]
    assert statuses == [200, 200, 201, 200, 200, 204, 400]


@given(skeleton=st.sampled_from(SKELETONS), edits=EDITS)
@settings(bounded, max_examples=150)
def test_a_request_that_is_nearly_right_never_ends_in_a_5xx(
    impatient: RunningService, skeleton: bytes, edits: Edits
) -> None:
    status = _status(impatient, skeleton, edits)
    assert status is None or status < 500
