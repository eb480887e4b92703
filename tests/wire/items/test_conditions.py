"""Conditional writes, the same on PUT, PATCH and DELETE."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.write_ways import JSON_PATCH, MERGE_PATCH, PUT, WriteWay, new_item

DELETE = WriteWay("DELETE", "application/json", b"", b"", "")

conditional = pytest.mark.parametrize(
    "way", [PUT, MERGE_PATCH, JSON_PATCH, DELETE], ids=["put", "merge", "json-patch", "delete"]
)


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("conditions") as client:
        yield client


@dataclass
class Tags:
    """An item in its second version, and tags of it."""

    url: str
    old: str
    current: str


@pytest.fixture
def tags(client: httpx.Client) -> Tags:
    url = new_item(client)
    old = client.get(url).headers["etag"]
    current = PUT.send(client, b'{"a":1}', url=url, if_match=old).headers["etag"]
    return Tags(url, old, current)


def _send(client: httpx.Client, way: WriteWay, tags: Tags, **headers: str | None) -> httpx.Response:
    data = b"" if way is DELETE else b'{"a":2}'
    return way.send(client, data, url=tags.url, **headers)


def _assert_unchanged(client: httpx.Client, tags: Tags) -> None:
    assert client.get(tags.url).headers["etag"] == tags.current


@conditional
@pytest.mark.parametrize(
    "value",
    ["{current}", '"old", {current}', "{current},{old}", '"a,b" , {current}', "*", ",, {current}"],
)
def test_any_strong_match_lets_the_write_through(
    client: httpx.Client, tags: Tags, way: WriteWay, value: str
) -> None:
    answer = _send(client, way, tags, if_match=value.format(old=tags.old, current=tags.current))
    assert answer.status_code == (204 if way is DELETE else 200), answer.text
    assert client.get(tags.url).status_code == (404 if way is DELETE else 200)


@conditional
@pytest.mark.parametrize(
    "value",
    [
        "W/{current}",
        'W/{current}, "other"',
        "{old}",
        '"old", "older"',
        '""',
        '"2-00000000"',
        '"999999999999999999999-00000000"',
        '"2"',
    ],
)
def test_no_strong_match_is_412_with_the_current_state(
    client: httpx.Client, tags: Tags, way: WriteWay, value: str
) -> None:
    sent = value.format(old=tags.old, current=tags.current)
    answer = _send(client, way, tags, if_match=sent)
    assert answer.status_code == 412, answer.text
    assert (answer.json()["version"], answer.json()["etag"]) == (2, tags.current)
    _assert_unchanged(client, tags)


@conditional
@pytest.mark.parametrize(
    "value",
    ["abc", "{bare}", "", ",", "w/{current}", '"a', "*, {current}", "{current} {current}", '"a"x'],
)
def test_a_malformed_condition_is_400(
    client: httpx.Client, tags: Tags, way: WriteWay, value: str
) -> None:
    sent = value.format(bare=tags.current.strip('"'), current=tags.current)
    answer = _send(client, way, tags, if_match=sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-header")
    _assert_unchanged(client, tags)


@conditional
def test_two_lines_are_one_list(client: httpx.Client, tags: Tags, way: WriteWay) -> None:
    body = b"" if way is DELETE else way.before + b"{}" + way.after

    def send(*values: str) -> int:
        headers = [("content-type", way.media_type), *(("if-match", value) for value in values)]
        return client.request(way.method, tags.url, content=body, headers=headers).status_code

    assert send('"old"', tags.old) == 412
    assert send("*", tags.current) == 400
    assert send('"old"', tags.current) in (200, 204)


@conditional
def test_if_match_is_checked_before_if_none_match(
    client: httpx.Client, tags: Tags, way: WriteWay
) -> None:
    for if_match, if_none_match, named in (
        (tags.old, '"x"', "if-match"),
        (tags.current, tags.current, "if-none-match"),
        (tags.current, f"W/{tags.current}", "if-none-match"),
        ("*", "*", "if-none-match"),
    ):
        answer = _send(client, way, tags, if_match=if_match, if_none_match=if_none_match)
        assert answer.status_code == 412, answer.text
        assert answer.json()["errors"][0]["header"] == named
    _assert_unchanged(client, tags)
    both = _send(client, way, tags, if_match=tags.current, if_none_match=tags.old)
    assert both.status_code in (200, 204)


@conditional
def test_a_missing_item(client: httpx.Client, way: WriteWay) -> None:
    """412 on PUT, 404 on PATCH and DELETE."""
    nobody = Tags("/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV", "", "")
    expected = 412 if way is PUT else 404
    for value in ("*", '"1-00000000"', 'W/"1-00000000"'):
        assert _send(client, way, nobody, if_match=value).status_code == expected


@conditional
def test_the_reply_carries_the_tag_that_the_next_write_needs(
    client: httpx.Client, tags: Tags, way: WriteWay
) -> None:
    if way is DELETE:
        return
    tag = tags.current
    for _ in range(3):
        answer = _send(client, way, tags, if_match=tag)
        assert answer.status_code == 200
        assert answer.headers["etag"] == client.get(tags.url).headers["etag"] != tag
        tag = answer.headers["etag"]


@pytest.mark.parametrize("way", [MERGE_PATCH, JSON_PATCH], ids=["merge", "json-patch"])
def test_a_patch_without_a_condition_is_428(
    client: httpx.Client, tags: Tags, way: WriteWay
) -> None:
    answer = _send(client, way, tags, if_match=None)
    assert (answer.status_code, answer.json()["code"]) == (428, "precondition-required")
    _assert_unchanged(client, tags)
