import pytest

from service.api.headers.media_types import (
    JSON,
    JSON_API,
    JSON_PATCH,
    MERGE_PATCH,
    V1,
    V2,
    check_item_body,
    check_patch_body,
    negotiate,
)
from service.api.request import RequestContext
from service.model.errors import UnsupportedMediaType

V9 = "application/vnd.api.v9+json"


def _context(path: str, *content_types: str) -> RequestContext:
    async def no_body() -> bytes:
        return b""

    headers = {"content-type": list(content_types)}
    return RequestContext("POST", "http", path, "", headers, "127.0.0.1", "id", no_body)


@pytest.mark.parametrize(
    ("accept", "version", "chosen"),
    [
        ("", 1, (1, JSON)),
        (" , ", 1, (1, JSON)),
        ("*/*", 1, (1, JSON)),
        ("application/*", 1, (1, JSON)),
        ("text/html, application/json", 1, (1, JSON)),
        ("APPLICATION/JSON", 1, (1, JSON)),
        (V1, 1, (1, V1)),
        (V2, 1, (2, V2)),
        (JSON_API, 1, (2, JSON_API)),
        (f"{V1};q=0.4, {V2}", 1, (2, V2)),
        (f"{V1};q=0.4, application/json;q=0.3", 1, (1, V1)),
        (f"{V1};q=0.4, application/json;q=0.5", 1, (1, JSON)),
        (f"application/json;q=0, {V1}", 1, (1, V1)),
        (f"{V9}, */*;q=0.1", 1, (1, JSON)),
        ("application/json;q=0, */*;q=0.5", 1, (1, V1)),
        ("application/json; charset=utf-8", 1, (1, JSON)),
        # A type that names its version wins where no quality decides.
        (f"application/json, {V2}", 1, (2, V2)),
        (f"*/*, {V2}", 1, (2, V2)),
        (f"{V2}, {V1}", 1, (1, V1)),
        (f'text/html;x="a, {V2}", application/json', 1, (1, JSON)),
        ("", 2, (2, JSON_API)),
        ("*/*", 2, (2, JSON_API)),
        ("application/json", 2, (2, JSON)),
        (V1, 2, (1, V1)),
        (f"{V1};q=0.9, {V2};q=0.8", 2, (1, V1)),
        (f"{V9}, application/*;q=0.1", 2, (2, JSON_API)),
    ],
)
def test_the_best_acceptable_type_is_chosen(
    accept: str, version: int, chosen: tuple[int, str]
) -> None:
    found = negotiate(accept, version)
    assert found is not None
    assert (found.version, found.media_type) == chosen


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;q=0", V9, "*/*;q=0", "nonsense", f"{JSON_API};q=0", '"'],
)
def test_unsupported_types_are_refused(accept: str, version: int) -> None:
    assert negotiate(accept, version) is None


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (f'{JSON_API}; profile="https://example.com/a https://example.com/b"', JSON_API),
        (f'{JSON_API}; ext=""', JSON_API),
        (f"{JSON_API}; charset=utf-8, {JSON_API};q=0.2", JSON_API),
        (f"{JSON_API}; charset=utf-8, {JSON_API};q=0.2, {JSON};q=0.3", JSON),
        (f"{JSON_API}; charset=utf-8", None),
        (f"{JSON_API}; charset=utf-8, {JSON}", None),
        (f'{JSON_API}; ext="https://jsonapi.org/ext/atomic"', None),
        (f'{JSON_API}; ext="https://a/,b", */*', None),
    ],
)
def test_json_api_has_rules_of_its_own(accept: str, chosen: str | None) -> None:
    """JSON:API 1.1, "Server Responsibilities": instances with other parameters are ignored."""
    found = negotiate(accept, 1)
    assert (found.media_type if found else None) == chosen


@pytest.mark.parametrize(
    ("value", "path", "sent"),
    [
        ("application/json", "/v1/items", (JSON, 1)),
        ("application/json", "/items", (JSON, 1)),
        ("application/json", "/v2/items", (JSON, 2)),
        ("APPLICATION/JSON", "/v1/items", (JSON, 1)),
        ("application/json; charset=utf-8", "/v1/items", (JSON, 1)),
        ('application/json;charset="UTF-8"', "/v1/items", (JSON, 1)),
        ("application/json; profile=x", "/v1/items", (JSON, 1)),
        (V1, "/v2/items", (V1, 1)),
        (V2, "/v1/items", (V2, 2)),
        (f"{JSON_API};profile=x", "/v1/items", (JSON_API, 2)),
    ],
)
def test_json_in_utf8_comes_in(value: str, path: str, sent: tuple[str, int]) -> None:
    assert check_item_body(_context(path, value)) == sent


def test_a_patch_has_the_shape_of_the_url() -> None:
    assert check_patch_body(_context("/v1/items/x", MERGE_PATCH)) == (MERGE_PATCH, 1)
    assert check_patch_body(_context("/v2/items/x", JSON_PATCH)) == (JSON_PATCH, 2)
    assert check_patch_body(_context("/v1/items/x", JSON_API)) == (JSON_API, 2)
    with pytest.raises(UnsupportedMediaType):
        check_patch_body(_context("/v1/items/x", JSON))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["text/plain"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=x"],
        ["application/json; charset=iso-8859-1"],
        ["application/json", "application/json"],
        [V9],
        [f"{JSON_API}; charset=utf-8"],
        [f'{JSON_API}; ext="https://jsonapi.org/ext/atomic"'],
    ],
)
def test_other_media_types_are_refused(values: list[str]) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_item_body(_context("/v1/items", *values))
