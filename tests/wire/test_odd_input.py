"""Input that no list of ours names: what is legal is served, what is not is refused cleanly."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.wire import Answer, Connection, ask, request
from tests.fixtures.write_ways import MERGE_PATCH, POST, PUT, new_item


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("odd-input") as client:
        yield client


@pytest.fixture(scope="module")
def port(service: RunningService) -> int:
    return httpx.URL(service.url).port or 0


@pytest.fixture(scope="module")
def authorization(service: RunningService) -> str:
    return f"Authorization: Bearer {service.token('odd-input')}"


def _kept(client: httpx.Client, data: object) -> object:
    url = new_item(client, json.dumps(data, ensure_ascii=False).encode())
    return client.get(url).json()["data"]


# Data


def test_texts_are_not_normalised(client: httpx.Client) -> None:
    names = ["é", "e\u0301", "\u212b", "Å", "ﬁ", "fi", "\u200b", "\ufeff", "\u202e", "İ", "i\u0307"]
    data = {name: name for name in names}
    assert _kept(client, data) == data


def test_names_with_a_meaning_elsewhere_have_none_here(client: httpx.Client) -> None:
    names = [
        *("", " ", "__proto__", "constructor", "$ref", "$where", "$serde_json::private::Number"),
        *("data", "id", "version", "a.b", "a/b", "~0", "%s", "{0}", "'; DROP TABLE items; --"),
        *("0", "-0", "00", "null", "NaN", "\\u0000", "\x7f", "\U0010ffff"),
    ]
    data = {name: {name: [name]} for name in names}
    assert _kept(client, data) == data


def test_one_name_written_in_many_ways_is_one_name(client: httpx.Client) -> None:
    text = rb'{"\u0061b":1,"a\u0062":2,"ab":3,"\u00e9":1,"\u00E9":2,"/":1,"\/":2}'
    assert client.get(new_item(client, text)).json()["data"] == {"ab": 3, "é": 2, "/": 2}


def test_very_many_members_and_elements(client: httpx.Client) -> None:
    members = {f"{n:x}": n for n in range(60_000)}
    assert _kept(client, members) == members
    elements: dict[str, list[object]] = {"a": [[]] * 250_000}
    assert _kept(client, elements) == elements
    url = new_item(client, json.dumps(members).encode())
    patch = json.dumps(dict.fromkeys(members)).encode()
    assert MERGE_PATCH.send(client, patch, url=url).json()["data"] == {}


def test_names_that_differ_in_their_last_byte_only(client: httpx.Client) -> None:
    data = {"n" * 255 + chr(letter): letter for letter in range(32, 127)}
    assert _kept(client, data) == data


# Requests


@pytest.mark.parametrize(
    "value",
    ['"\x7f"', '"\\"', '"{}|^`<>"', '"' + "x" * 4_000 + '"', ",".join(['"x"'] * 200), '""'],
)
def test_odd_entity_tags_are_tags(client: httpx.Client, value: str) -> None:
    url = new_item(client)
    read = client.get(url, headers={"if-none-match": value})
    written = PUT.send(client, b"{}", url=url, if_match=value)
    if "\x7f" in value or value.count('"') % 2:
        assert (read.status_code, written.status_code) == (400, 400)
    else:
        assert (read.status_code, written.status_code) == (200, 412)


@pytest.mark.parametrize(
    ("value", "minimal"),
    [
        ("RETURN=MINIMAL", True),
        ("Return=minimal", True),
        ('return="minimal"', True),
        ("return=minimal; foo=bar", True),
        ("respond-async, wait=10, return=minimal", True),
        ("return=representation, return=minimal", False),
        ("return=minimal, return=representation", True),
        ("return", False),
        ("return=", False),
        ("foo=return=minimal", False),
        ('foo="a, return=minimal"', False),
        (",;=,", False),
        ("", False),
    ],
)
def test_preferences(client: httpx.Client, value: str, minimal: bool) -> None:
    """RFC 7240: case does not matter, the first of a name counts, the odd is ignored."""
    answer = PUT.send(client, b"{}", url=new_item(client), prefer=value)
    assert answer.status_code == (204 if minimal else 200)
    assert ("preference-applied" in answer.headers) == minimal


def test_targets_in_absolute_form(client: httpx.Client, port: int, authorization: str) -> None:
    """RFC 9112 section 3.2.2: every server takes them."""
    url = new_item(client)
    for authority in ("test", "elsewhere.example:99", "user@test"):
        answer = ask(port, request("GET", f"http://{authority}{url}", authorization))
        assert answer.status == 200
        assert json.loads(answer.body)["id"] == url[-26:]
    answer = ask(port, request("GET", f"http://test{url}?x=1", authorization))
    assert (answer.status, answer.problem["code"]) == (400, "invalid-parameter")


@pytest.mark.parametrize(
    "target",
    [
        "*",
        "test:80",
        "http://",
        "http:///v1/items",
        "?",
        "v1/items",
        "/v1/items/#x",
        "/\\",
        "/;a=b",
    ],
)
def test_odd_targets_are_answered(port: int, authorization: str, target: str) -> None:
    for method in ("GET", "OPTIONS", "CONNECT", "POST"):
        with Connection(port) as connection:
            connection.send(request(method, target, authorization))
            assert connection.answer().status < 500


def test_http_1_0(client: httpx.Client, port: int, authorization: str) -> None:
    url = new_item(client)
    with Connection(port) as connection:
        connection.send(f"GET {url} HTTP/1.0\r\nHost: x\r\n{authorization}\r\n\r\n".encode())
        assert connection.answer().status == 200
        assert connection.is_closed()
    # RFC 9112 section 3.2 requires Host only in HTTP/1.1; proxies' health checks send none.
    for target in (url, "/readyz", "/v1/items?limit=1"):
        answer = ask(port, f"GET {target} HTTP/1.0\r\n{authorization}\r\n\r\n".encode())
        assert answer.status == 200
    twice = f"GET {url} HTTP/1.0\r\nHost: x\r\nHost: x\r\n{authorization}\r\n\r\n"
    assert ask(port, twice.encode()).status == 400
    # The requested name is unknown, so it is not taken for this machine's.
    assert ask(port, b"GET /metrics HTTP/1.0\r\n\r\n").status == 401


@pytest.mark.parametrize(
    "raw",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/3.0\r\nHost: x\r\n\r\n",
        b"GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n: 1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_requests_that_are_not_http_1_1(port: int, raw: bytes) -> None:
    with Connection(port) as connection:
        connection.send(raw)
        connection.end_sending()
        line = connection.line()
        assert line == b"" or line.startswith(b"HTTP/1.1 4"), line


def test_fifty_requests_at_once_are_answered_in_order(
    client: httpx.Client, port: int, authorization: str
) -> None:
    url = new_item(client)
    write = [authorization, "Content-Type: application/json", "If-Match: *"]
    with Connection(port) as connection:
        sent = b""
        for n in range(25):
            body = b'{"data":{"n":%d}}' % n
            sent += request("PUT", url, *write, body=body) + request("GET", url, authorization)
        connection.send(sent)
        for n in range(25):
            put, get = connection.answer(), connection.answer()
            assert (put.status, put.body) == (200, get.body)
            assert json.loads(get.body)["data"] == {"n": n}


def _get(port: int, url: str, *fields: str) -> Answer:
    return ask(port, request("GET", url, *fields))


def test_fields_that_this_service_does_not_know_change_nothing(
    client: httpx.Client, port: int, authorization: str
) -> None:
    url = new_item(client, b'{"a":1}')
    for field in (
        "Range: bytes=0-1",
        "If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT",
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /livez",
        "Upgrade: h2c",
        "TE: trailers",
        "Content-Type: \t",
        "Cookie: a=b; a=c",
    ):
        answer = _get(port, url, authorization, field)
        assert (answer.status, json.loads(answer.body)["data"]) == (200, {"a": 1}), field


def test_one_key_under_two_names_is_one_key(client: httpx.Client) -> None:
    first = POST.send(client, b"{}", idempotency_key='"odd-key"', x_idempotency_key="odd-key")
    again = POST.send(client, b"{}", idempotency_key=None, x_idempotent_id="odd-key")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    "subject", ["a\0b", "\ud800", "ü" * 300, "'\"\\", "\u202e", " ", "s" * 5000]
)
def test_odd_subjects_own_their_items_or_may_not_write(
    service: RunningService, subject: str
) -> None:
    with service.client(subject) as owner, service.client("odd-other") as other:
        created = POST.send(owner, b"{}")
        if created.status_code == 401:
            return
        assert created.status_code == 201, created.text
        assert created.json()["owner_id"] == subject
        url = created.headers["location"]
        assert PUT.send(other, b"{}", url=url).status_code == 403
        assert PUT.send(owner, b"{}", url=url).status_code == 200


@pytest.mark.parametrize("item_id", ["0" * 26, "7" + "Z" * 25, "7zzzzzzzzzzzzzzzzzzzzzzzzy"])
def test_the_first_and_the_last_ids(client: httpx.Client, item_id: str) -> None:
    url = f"/v1/items/{item_id}"
    headers = {"content-type": "application/json", "if-none-match": "*"}
    created = client.put(url, content=b'{"data":{}}', headers=headers)
    assert created.status_code == 201, created.text
    assert client.get(url.upper().replace("/V1/ITEMS", "/v1/items")).json()["id"] == item_id.upper()
    assert client.delete(url).status_code == 204
