"""JSON that is hard to store or to read, on every way in."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.fixtures.json_texts import SYNTAX
from tests.fixtures.running import RunningService
from tests.fixtures.write_ways import JSON_PATCH, POST, PUT, WriteWay, every_way, new_item


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("hard-input") as client:
        yield client


def _locations(answer: httpx.Response, status: int, code: str) -> list[str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    return [error["pointer"] for error in problem["errors"]]


def _data(client: httpx.Client, written: httpx.Response) -> Any:
    """The item that GET returns after a write, with numbers as decimals."""
    assert written.status_code in (200, 201), written.text
    read = client.get(f"/v1/items/{written.json()['id']}")
    assert read.content == written.content
    return json.loads(read.content, parse_int=Decimal, parse_float=Decimal)["data"]


# NUL and surrogates


@every_way
@pytest.mark.parametrize(
    ("data", "location"),
    [
        (rb'{"k":"a\u0000b"}', "/k"),
        (rb'{"a\u0000b":1}', "/a\0b"),
        (rb'{"k":"\ud800"}', "/k"),
        (rb'{"k":"\udc00"}', "/k"),
        (rb'{"k":[{"x":"\ude00\ud83d"}]}', "/k/0/x"),
        (rb'{"\ud800":1}', "/\ufffd"),
    ],
)
def test_data_that_jsonb_cannot_store_is_refused_with_its_location(
    client: httpx.Client, way: WriteWay, data: bytes, location: str
) -> None:
    url = new_item(client)
    answer = way.send(client, data, url=url)
    assert _locations(answer, 422, "invalid-content") == [way.pointer + location]
    assert client.get(url).json()["data"] == {}


@every_way
def test_text_that_only_looks_like_it_is_kept(client: httpx.Client, way: WriteWay) -> None:
    data = rb'{"k":"\\u0000","l":"\\ud800","m":"\ud83d\ude00","\\u0000":"\u2028\u0001"}'
    expected = {"k": "\\u0000", "l": "\\ud800", "m": "\U0001f600", "\\u0000": "\u2028\x01"}
    assert _data(client, way.send(client, data)) == expected


@every_way
def test_all_locations_are_reported_at_once(client: httpx.Client, way: WriteWay) -> None:
    data = rb'{"a":"\u0000","b":[1e9999,{"c":"\ud800"}]}'
    expected = [way.pointer + location for location in ("/a", "/b/0", "/b/1/c")]
    assert _locations(way.send(client, data), 422, "invalid-content") == expected


# Numbers


@every_way
def test_numbers_keep_their_value_digit_for_digit(client: httpx.Client, way: WriteWay) -> None:
    numbers = [
        *("0", "-0", "-0.0", "1E2", "1.10", "1e400", "1e-400", "1e999", "1e-999"),
        *("9" * 1000, "0." + "3" * 999, "123456789012345678901234567890.5", "9007199254740993"),
    ]
    data = f'{{"n":[{",".join(numbers)}],"s":["NaN","Infinity","1e400"]}}'.encode()
    kept = _data(client, way.send(client, data))
    assert kept["n"] == [Decimal(number) for number in numbers]
    assert kept["s"] == ["NaN", "Infinity", "1e400"]


@every_way
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "01", "1.", "+1", "0x1"])
def test_an_invalid_number_is_400(client: httpx.Client, way: WriteWay, number: str) -> None:
    answer = way.send(client, f'{{"n":{number}}}'.encode())
    _locations(answer, 400, "invalid-syntax")


@every_way
@pytest.mark.parametrize("number", ["1e1000", "1e131071", "1e131072", "-1e-1000", "9" * 1001])
def test_a_number_of_too_many_digits_is_422(
    client: httpx.Client, way: WriteWay, number: str
) -> None:
    answer = way.send(client, f'{{"n":[0,{number}]}}'.encode())
    assert _locations(answer, 422, "invalid-content") == [f"{way.pointer}/n/1"]


@every_way
@pytest.mark.parametrize("number", ["1e131071", "1e999", "1e-998", "0e-998"])
def test_short_numbers_cannot_become_a_huge_row(
    client: httpx.Client, way: WriteWay, number: str
) -> None:
    data = f'{{"n":[{",".join([number] * 100_000)}]}}'.encode()
    answer = way.send(client, data)
    _locations(answer, 422, "invalid-content")


# What is JSON at all


@every_way
@pytest.mark.parametrize(
    "body",
    [*(text for text in SYNTAX if len(text) < 1000), b"[" * 100_000, b'{"data":' * 100_000],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_is_400(client: httpx.Client, way: WriteWay, body: bytes) -> None:
    _locations(way.send_body(client, body), 400, "invalid-syntax")


@every_way
@pytest.mark.parametrize("tail", [b" {}", b"x", b"\0", b",", b"//"])
def test_trailing_text_is_400(client: httpx.Client, way: WriteWay, tail: bytes) -> None:
    _locations(way.send_body(client, way.before + b"{}" + way.after + tail), 400, "invalid-syntax")


@every_way
@pytest.mark.parametrize("data", [b"[]", b"null", b'"x"', b"1", b"true"])
def test_data_is_an_object(client: httpx.Client, way: WriteWay, data: bytes) -> None:
    assert way.send(client, data).status_code == 422
    if way in (POST, PUT):
        assert _locations(way.send_body(client, data), 422, "invalid-content") == [""]


@every_way
def test_depth_is_counted_in_data(client: httpx.Client, way: WriteWay) -> None:
    deepest = b'{"d":' + b"[" * 63 + b"]" * 63 + b"}"
    assert _data(client, way.send(client, deepest))
    deeper = b'{"d":' + b"[" * 64 + b"]" * 64 + b"}"
    answer = way.send(client, deeper)
    if way is JSON_PATCH:  # where a value will end up, its path says
        assert _locations(answer, 422, "patch-result-invalid") == ["/data/d" + "/0" * 63]
    else:
        assert _locations(answer, 422, "invalid-content") == [way.pointer + "/d" + "/0" * 63]


@every_way
def test_names_have_up_to_256_bytes(client: httpx.Client, way: WriteWay) -> None:
    for fits, name in ((True, "é" * 128), (False, "é" * 128 + "x")):
        answer = way.send(client, json.dumps({name: 1}).encode())
        if fits:
            assert _data(client, answer) == {name: 1}
        else:
            _locations(answer, 422, "invalid-content")


@every_way
def test_the_last_of_equal_names_wins(client: httpx.Client, way: WriteWay) -> None:
    data = rb'{"a":1,"b":{"x":1,"x":null,"\u0078":3},"\u0061":2,"a":{"c":[1]},"\u0061":4}'
    assert _data(client, way.send(client, data)) == {"a": 4, "b": {"x": 3}}


@every_way
@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "json",
        "application/json, text/plain",
        "application/jsonx",
        "*/*",
    ],
)
def test_other_media_types_are_415_and_store_nothing(
    client: httpx.Client, way: WriteWay, media_type: str | None
) -> None:
    url = new_item(client)
    answer = way.send(client, b'{"a":1}', url=url, content_type=media_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")
    assert answer.headers["accept-patch" if way.method == "PATCH" else "accept"]
    assert client.get(url).json()["data"] == {}


@every_way
def test_media_types_are_compared_without_case(client: httpx.Client, way: WriteWay) -> None:
    for suffix in ("", "; charset=utf-8", ';charset="UTF-8"', " ; CHARSET=Utf-8"):
        answer = way.send(client, b'{"a":1}', content_type=way.media_type.upper() + suffix)
        assert _data(client, answer) == {"a": 1}
    for charset in ("iso-8859-1", "utf-16", "utf-7", ""):
        answer = way.send(client, b"{}", content_type=f"{way.media_type}; charset={charset}")
        assert answer.status_code == 415, charset


def test_methods_without_a_body_take_any_content_type(client: httpx.Client) -> None:
    url = new_item(client)
    for media_type in ("application/json", "text/plain", "nonsense"):
        assert client.get(url, headers={"content-type": media_type}).status_code == 200
    assert client.delete(url, headers={"content-type": "application/json"}).status_code == 204


# Compressed bodies and the cap


def _exactly(way: WriteWay, size: int) -> bytes:
    frame = len(way.before) + len(way.after) + len(b'{"t":""}')
    return b'{"t":"' + b"x" * (size - frame) + b'"}'


@every_way
def test_the_cap_is_exact(client: httpx.Client, way: WriteWay) -> None:
    assert len(_data(client, way.send(client, _exactly(way, 1 << 20)))["t"]) > 1_000_000
    answer = way.send(client, _exactly(way, (1 << 20) + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


@every_way
def test_a_compressed_body_is_decompressed_under_the_cap(
    client: httpx.Client, way: WriteWay
) -> None:
    def send(data: bytes) -> httpx.Response:
        body = gzip.compress(way.before + data + way.after)
        return way.send_body(client, body, content_encoding="gzip")

    assert _data(client, send(b'{"a":0.10}')) == {"a": Decimal("0.10")}
    assert _data(client, send(_exactly(way, 1 << 20)))
    assert send(_exactly(way, (1 << 20) + 1)).status_code == 413
    assert send(b'{"t":"' + b"x" * 100_000_000 + b'"}').status_code == 413


@every_way
def test_a_body_that_is_not_gzip_although_it_says_so(client: httpx.Client, way: WriteWay) -> None:
    compressed = gzip.compress(way.before + b"{}" + way.after)
    for body, coding, status in (
        (compressed[:-1], "gzip", 400),
        (compressed + b"x", "gzip", 400),
        (way.before + b"{}" + way.after, "gzip", 400),
        (compressed, "br", 415),
        (compressed, "gzip, gzip", 415),
        (compressed, "identity", 400),
    ):
        assert way.send_body(client, body, content_encoding=coding).status_code == status, coding
