"""Limits of targets, header fields and methods: the same on the fast path and on the bridge."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.wire import Answer, ask, request
from tests.fixtures.write_ways import PUT, WriteWay, every_way, new_item

NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("hard-requests") as client:
        yield client


@pytest.fixture(scope="module")
def port(service: RunningService) -> int:
    return httpx.URL(service.url).port or 0


@pytest.fixture(scope="module")
def authorization(service: RunningService) -> str:
    return f"Authorization: Bearer {service.token('hard-requests')}"


def _code(answer: httpx.Response | Answer, status: int) -> object:
    if isinstance(answer, Answer):
        assert answer.status == status, answer
        return answer.problem["code"]
    assert answer.status_code == status, answer.text
    return answer.json()["code"]


# Methods


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/items", {"POST"}), (NOBODY, {"GET", "HEAD", "PUT", "DELETE"}), ("/livez", {"GET"})],
)
@pytest.mark.parametrize("method", ["TRACE", "CONNECT1", "post", "get", "M-SEARCH", "X" * 200])
def test_any_other_method_is_405_with_allow(
    port: int, authorization: str, path: str, allowed: set[str], method: str
) -> None:
    answer = ask(port, request(method, path, authorization))
    assert _code(answer, 405) == "method-not-allowed"
    assert allowed | {"OPTIONS"} <= set((answer.header("allow") or "").split(", "))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/items/search", "/items/search", "/v1/items:batch"])
def test_searches_and_batches_are_posted(client: httpx.Client, path: str, method: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert method == "HEAD" or _code(answer, 405) == "method-not-allowed"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_searches_of_version_2_are_posted(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/v2/items/search")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


@pytest.mark.parametrize("path", ["/v1/items", NOBODY, "/livez"])
def test_options_needs_no_credentials(service: RunningService, path: str) -> None:
    answer = httpx.options(service.url + path)
    assert answer.status_code == 204
    assert "OPTIONS" in answer.headers["allow"]


# Paths: decoded once, by whichever way they are answered


READ_OR_WRITE = pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])


def _ask_item(client: httpx.Client, method: str, target: str) -> int:
    """The status; written by hand, since clients mend targets before they send them."""
    body = b'{"data":{}}' if method == "PUT" else b""
    fields = [f"Authorization: {client.headers['authorization']}"]
    if method == "PUT":
        fields += ["Content-Type: application/json", "If-Match: *"]
    sent = request(method, target, *fields, body=body)
    return ask(client.base_url.port or 0, sent, to_head=method == "HEAD").status


@READ_OR_WRITE
@pytest.mark.parametrize("prefix", ["/items/", "/v1/items/", "/%76%31/ite%6ds/", "/v1%2Fitems%2f"])
def test_an_encoded_id_is_the_plain_id(client: httpx.Client, method: str, prefix: str) -> None:
    item_id = new_item(client).rpartition("/")[2]
    encoded = "".join(f"%{ord(letter):02x}" for letter in item_id[:13]) + item_id[13:].lower()
    expected = 204 if method == "DELETE" else 200
    assert _ask_item(client, method, prefix + encoded) == expected


@READ_OR_WRITE
@pytest.mark.parametrize(
    "target",
    [
        "/v1/items/{id}/",
        "/v1//items/{id}",
        "//v1/items/{id}",
        "/v1/items//{id}",
        "/V1/items/{id}",
        "/v1/Items/{id}",
        "/v1/items/{id}/x",
        "/v1/items/{id}%2Fx",
        "/v1/items/{id}%2F",
        "/v1/items/%25{hex}{rest}",
        "/v1/items/{id}%00",
        "/v1/items/{id}%FF",
        "/v1/items/{id}%EF%BF%BD",
        "/v1/items/{id}%25",
        "/v1/./items/{id}",
        "/v1/x/../items/{id}",
    ],
)
def test_another_spelling_is_another_path(client: httpx.Client, method: str, target: str) -> None:
    url = new_item(client)
    item_id = url.rpartition("/")[2]
    spelled = target.format(id=item_id, hex=f"{ord(item_id[0]):02X}", rest=item_id[1:])
    assert _ask_item(client, method, spelled) == 404
    assert client.get(url).json()["version"] == 1


@pytest.mark.parametrize("target", ["/v1/items/", "/v1//items", "/items/", "/V1/items", "//items"])
def test_a_post_to_another_spelling_creates_nothing(client: httpx.Client, target: str) -> None:
    url = httpx.URL(client.base_url.join("/"), raw_path=target.encode())
    headers = {"content-type": "application/json", "idempotency-key": "k"}
    answer = client.post(url, content=b'{"data":{}}', headers=headers)
    assert _code(answer, 404) == "no-such-route"
    assert "location" not in answer.headers


@READ_OR_WRITE
@pytest.mark.parametrize(
    "bad",
    [
        "x",
        "8" + "Z" * 25,
        "0" * 25,
        "0" * 27,
        "U" * 26,
        "%EF%BC%90" * 26,
        "0" * 25 + "%0A",
        "0" * 5000,
    ],
)
def test_a_malformed_id_is_404(client: httpx.Client, method: str, bad: str) -> None:
    assert _ask_item(client, method, f"/v1/items/{bad}") == (400 if method == "PUT" else 404)


# Queries


@READ_OR_WRITE
@pytest.mark.parametrize(
    "query",
    ["x=1", "=1", "limit=1", "a=%ZZ", "a=%", "a=%C3%28", "a=%00", "%00", "%FF=1", "Fields=a"],
)
def test_a_query_that_is_not_known_or_not_readable(
    client: httpx.Client, method: str, query: str
) -> None:
    url = new_item(client)
    assert _ask_item(client, method, f"{url}?{query}") == 400
    assert client.get(url).json()["version"] == 1


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/.well-known/jwks.json", "/.well-known/oauth-protected-resource"]
)
def test_paths_without_parameters_refuse_them(service: RunningService, path: str) -> None:
    for query in ("t=1", "%00", "a=%C3%28"):
        answer = httpx.get(f"{service.url}{path}?{query}")
        assert _code(answer, 400) == "invalid-parameter"


@READ_OR_WRITE
def test_raw_bytes_in_a_target(client: httpx.Client, method: str) -> None:
    url = new_item(client)
    for byte in ("\xff", "\xc3\xa9", "\x80"):
        assert _ask_item(client, method, f"{url}?{byte}=1") == 400
        assert _ask_item(client, method, url + byte) in (400, 404)
        assert _ask_item(client, method, f"/v1/items{byte}/{url[-26:]}") in (400, 404)
    assert client.get(url).json()["version"] == 1


@every_way
@pytest.mark.parametrize("query", ["?fields=a", "?x", "?a=%00", "?access_token=t"])
def test_writes_take_no_query(client: httpx.Client, way: WriteWay, query: str) -> None:
    answer = way.send_body(client, way.before + b"{}" + way.after, query=query)
    assert _code(answer, 400) == "invalid-parameter"
    assert answer.json()["errors"][0]["parameter"] == query[1:].partition("=")[0]


def test_fields_choose_members(client: httpx.Client) -> None:
    url = new_item(client, '{"a":1.10,"b":{"a":2},"é x+y":3,"c,d":4}'.encode())
    whole = client.get(url)
    for query, expected in [
        ("fields=a", '{"a": 1.10}'),
        ("fields=b,a", '{"a": 1.10, "b": {"a": 2}}'),
        ("fields=%C3%A9%20x%2By", '{"é x+y": 3}'),
        ("fields=%c3%a9+x%2By,zzz", '{"é x+y": 3}'),
        ("fields=c,d", "{}"),
        ("fields=", "{}"),
        ("f%69elds=a", '{"a": 1.10}'),
    ]:
        answer = client.get(f"{url}?{query}")
        assert answer.text == whole.text[: whole.text.index('"data":')] + f'"data":{expected}}}'
        head = client.head(f"{url}?{query}")
        assert head.headers["content-length"] == str(len(answer.content))
        assert head.headers["etag"] == answer.headers["etag"] != whole.headers["etag"]
    assert _code(client.get(f"{url}?fields=a&fields=a"), 400) == "invalid-parameter"
    assert _code(client.get(f"{url}?fields=a%00"), 400) == "invalid-parameter"


def test_a_tag_of_chosen_fields_is_as_good_as_the_item_s(client: httpx.Client) -> None:
    url = new_item(client, b'{"a":1,"b":2}')
    chosen = client.get(f"{url}?fields=a")
    tag = chosen.headers["etag"]
    same = client.get(f"{url}?fields=a", headers={"if-none-match": tag})
    assert (same.status_code, same.headers["etag"]) == (304, tag)
    assert PUT.send(client, b"{}", url=url, if_match=tag).status_code == 200
    assert PUT.send(client, b"{}", url=url, if_match=tag).status_code == 412


# Header fields


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"])
@pytest.mark.parametrize("field", ['If-Match: "\xfc"', "X-Any: \xff", "Accept: a/b\xe9"])
def test_a_field_that_is_not_ascii_is_400(
    port: int, authorization: str, method: str, field: str
) -> None:
    target = "/v1/items" if method == "POST" else NOBODY
    answer = ask(port, request(method, target, authorization, field), to_head=method == "HEAD")
    assert answer.status == 400
    if method != "HEAD":
        assert answer.problem["errors"] == [
            {"header": field.partition(":")[0].lower(), "detail": "Only ASCII is accepted."}
        ]


@pytest.mark.parametrize("order", [1, -1])
def test_a_line_that_is_not_ascii_counts_for_nothing(
    client: httpx.Client, port: int, authorization: str, order: int
) -> None:
    """Granian shows such a line nowhere beside another of its name: the other one decides."""
    url = new_item(client)
    tag = client.get(url).headers["etag"]
    for field, status in ((f"If-None-Match: {tag}", 304), ('If-None-Match: "x"', 200)):
        lines = [field, 'If-None-Match: "\xfc"'][::order]
        assert ask(port, request("GET", url, authorization, *lines)).status == status


@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n"])
@pytest.mark.parametrize("target", [f"GET {NOBODY}", f"DELETE {NOBODY}", "GET /livez"])
def test_exactly_one_host(port: int, authorization: str, target: str, hosts: str) -> None:
    answer = ask(port, f"{target} HTTP/1.1\r\n{hosts}{authorization}\r\n\r\n".encode())
    assert _code(answer, 400) == "invalid-header"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_two_authorization_lines_are_400(port: int, authorization: str, method: str) -> None:
    answer = ask(port, request(method, NOBODY, authorization, authorization))
    assert _code(answer, 400) == "invalid-header"


@pytest.mark.parametrize("query", ["access_token={}", "token={}", "api_key={}"])
def test_credentials_come_in_headers_only(service: RunningService, query: str) -> None:
    answer = httpx.get(f"{service.url}{NOBODY}?{query.format(service.token())}")
    assert _code(answer, 401) == "unauthenticated"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_how_many_fields_and_bytes_fit(port: int, authorization: str, method: str) -> None:
    for more, status in ((97, 404), (98, 431), (99, 431), (300, 431)):
        answer = ask(port, request(method, NOBODY, authorization, *["X: x"] * more))
        assert answer.status == status, more
        if more == 98:  # where Granian still lets it pass
            assert answer.problem["code"] == "too-many-headers"
    # Granian looks at its buffer when it is full, so that up to twice as much may pass.
    for size, status in ((60_000, 404), (140_000, 431)):
        answer = ask(port, request(method, NOBODY, authorization, "X: " + "x" * size))
        assert answer.status == status, size
    for size, status in ((60_000, 404), (66_000, 414)):
        answer = ask(port, request(method, "/" + "x" * size, authorization))
        assert answer.status == status, size
