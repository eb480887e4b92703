"""Version 2's lists against JSON:API's cursor pagination profile, rule by rule."""

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from jsonapi_pydantic.v1_0 import TopLevel  # type: ignore[import-untyped]

from tests.fixtures.running import RunningService

JSON_API = "application/vnd.api+json"
PROFILE = "http://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
ERRORS = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
COUNT = 7


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("cursor-profile") as client:
        yield client


def _create(client: httpx.Client, attributes: dict[str, Any]) -> None:
    document = {"data": {"type": "items", "attributes": attributes}}
    headers = {"content-type": JSON_API, "idempotency-key": str(uuid.uuid4())}
    created = client.post("/v2/items", content=json.dumps(document), headers=headers)
    assert created.status_code == 201


@pytest.fixture(scope="module")
def shelf(client: httpx.Client) -> str:
    """Seven items that no other test lists."""
    name = uuid.uuid4().hex
    for n in range(COUNT):
        _create(client, {"shelf": name, "n": n})
    return name


def _page(client: httpx.Client, shelf: str, **page: object) -> Any:
    query = {f"page[{name}]": str(value) for name, value in page.items()}
    answer = client.get("/v2/items", params={"filter[shelf]": shelf} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _numbers(page: Any) -> list[int]:
    return [item["attributes"]["n"] for item in page["data"]]


def _cursor(page: Any, relation: str) -> str:
    """The cursor in a page's link."""
    sent = parse_qs(urlsplit(str(page["links"][relation])).query)
    [cursor] = sent[{"next": "page[after]", "prev": "page[before]"}[relation]]
    return str(cursor)


@pytest.fixture(scope="module")
def cursors(client: httpx.Client, shelf: str) -> list[str]:
    """One for each item but the last: it falls on it."""
    return [_cursor(_page(client, shelf, size=n), "next") for n in range(1, COUNT)]


def _order(client: httpx.Client, shelf: str) -> list[int]:
    return _numbers(_page(client, shelf, size=1000))


def test_documents_say_that_they_follow_it(client: httpx.Client, shelf: str) -> None:
    query = {"filter[shelf]": shelf}
    for accept in (JSON_API, f'{JSON_API};profile="{PROFILE}"', "*/*"):
        answer = client.get("/v2/items", params=query, headers={"accept": accept})
        assert answer.headers["content-type"] == f'{JSON_API};profile="{PROFILE}"'
        assert answer.json()["jsonapi"] == {"version": "1.1", "profile": [PROFILE]}
    vendor = "application/vnd.api.v2+json"
    answer = client.get("/v2/items", params=query, headers={"accept": vendor})
    assert answer.headers["content-type"] == vendor
    one = client.get(answer.json()["data"][0]["links"]["self"])
    assert (one.headers["content-type"], one.json()["jsonapi"]) == (JSON_API, {"version": "1.1"})


def test_a_search_has_no_links_and_claims_nothing(client: httpx.Client, shelf: str) -> None:
    found = client.post("/v2/items/search", json={"filter": {"shelf": shelf}})
    assert found.headers["content-type"] == JSON_API
    assert found.json()["jsonapi"] == {"version": "1.1"}
    assert "links" not in found.json()


def test_pages_after_and_before_a_cursor(
    client: httpx.Client, shelf: str, cursors: list[str]
) -> None:
    order = _order(client, shelf)
    for (at, cursor), size in itertools.product(enumerate(cursors), (1, 2, 3, COUNT, 1000)):
        after = _page(client, shelf, size=size, after=cursor)
        before = _page(client, shelf, size=size, before=cursor)
        assert _numbers(after) == order[at + 1 : at + 1 + size]
        assert _numbers(before) == order[max(0, at - size) : at]
        # Where the profile wants it known whether there is a page, the link says so.
        assert (after["links"]["next"] is None) == (at + 1 + size >= COUNT)
        assert (before["links"]["prev"] is None) == (at - size <= 0)
        assert set(after["links"]) == set(before["links"]) == {"next", "prev"}


def test_without_a_cursor_it_is_the_beginning(client: httpx.Client, shelf: str) -> None:
    first = _page(client, shelf, size=3)
    assert _numbers(first) == _order(client, shelf)[:3]
    assert first["links"]["prev"] is None
    whole = _page(client, shelf, size=COUNT)
    assert whole["links"] == {"next": None, "prev": None}
    nothing = _page(client, uuid.uuid4().hex)
    assert (nothing["data"], nothing["links"]) == ([], {"next": None, "prev": None})


def test_links_lead_through_the_whole_list_both_ways(client: httpx.Client, shelf: str) -> None:
    pages = [_page(client, shelf, size=2)]
    while pages[-1]["links"]["next"]:
        pages.append(client.get(pages[-1]["links"]["next"]).json())
    walked = [number for page in pages for number in _numbers(page)]
    assert walked == _order(client, shelf)
    back = [client.get(pages[-1]["links"]["prev"]).json()]
    while back[-1]["links"]["prev"]:
        back.append(client.get(back[-1]["links"]["prev"]).json())
    assert [_numbers(page) for page in reversed(back)] == [_numbers(page) for page in pages[:-1]]


def test_totals_by_the_profile_s_names(client: httpx.Client, shelf: str) -> None:
    query = {"filter[shelf]": shelf, "page[size]": "1"}
    exact = client.get("/v2/items", params=query, headers={"prefer": "count=exact"})
    rough = client.get("/v2/items", params=query, headers={"prefer": "count=estimated"})
    assert exact.json()["meta"]["page"]["total"] == COUNT
    page = rough.json()["meta"]["page"]
    assert isinstance(page["estimatedTotal"]["bestGuess"], int)
    assert "total" not in page


@pytest.mark.parametrize(
    ("query", "parameter", "rule"),
    [
        ("page[size]=1001", "page[size]", "max-size-exceeded"),
        ("page[size]=99999999999999999999", "page[size]", "max-size-exceeded"),
        ("page[size]=0", "page[size]", ""),
        ("page[size]=-1", "page[size]", ""),
        ("page[size]=1.5", "page[size]", ""),
        ("page[after]=x", "page[after]", ""),
        ("page[before]=x", "page[before]", ""),
        ("page[after]=x&page[before]=x", "page[before]", "range-pagination-not-supported"),
        ("sort=colour", "sort", "unsupported-sort"),
        ("sort=id,created_at", "sort", "unsupported-sort"),
        ("sort=", "sort", "unsupported-sort"),
    ],
)
def test_errors_have_the_profiles_members(
    client: httpx.Client, query: str, parameter: str, rule: str
) -> None:
    answer = client.get(f"/v2/items?{query}")
    document = answer.json()
    assert answer.status_code == 400
    [error] = document["errors"]
    if rule:
        assert error["links"] == {"type": ERRORS + rule}
        assert document["jsonapi"]["profile"] == [PROFILE]
        assert answer.headers["content-type"] == f'{JSON_API};profile="{PROFILE}"'
    else:
        assert "links" not in error
    if rule == "max-size-exceeded":
        assert error["meta"]["page"] == {"maxSize": 1000}
    assert error["source"]["parameter"] == parameter
    # The model is of JSON:API 1.0, where errors had no link to their type.
    error.pop("links", None)
    TopLevel.model_validate(document)


def test_a_page_that_ends_early_does_not_claim_it(client: httpx.Client) -> None:
    """The profile promises as many items as requested; pages end at 4 MiB."""
    name = uuid.uuid4().hex
    for n in range(6):
        _create(client, {"shelf": name, "n": n, "text": f"{n}" * 1_000_000})
    query = {"filter[shelf]": name, "fields[items]": "n"}
    early = client.get("/v2/items", params=query)
    rest = client.get(early.json()["links"]["next"])
    assert early.headers["content-type"] == JSON_API
    assert early.json()["jsonapi"] == {"version": "1.1"}
    assert rest.headers["content-type"] == f'{JSON_API};profile="{PROFILE}"'
    assert len(early.json()["data"]) + len(rest.json()["data"]) == 6
