"""Header fields and queries over the bounds: refused by name, at no cost."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.write_ways import PUT, new_item

LONG = {
    "accept": "a/b," * 1100,
    "accept-encoding": "gzip;q=0.5," * 400,
    "if-none-match": '"",' * 1400,
    "if-match": '"a",' * 1100,
}


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("long headers") as client:
        yield client


def _error(answer: httpx.Response) -> dict[str, Any]:
    """The only location of a problem document of either version."""
    document: dict[str, Any] = answer.json()
    assert document["code"] == "header-too-large"
    (location,) = document["errors"]
    return dict(location)


@pytest.mark.parametrize("name", LONG)
def test_a_field_that_is_too_long_is_431_by_name(client: httpx.Client, name: str) -> None:
    answer = client.get(new_item(client), headers={name: LONG[name]})
    assert answer.status_code == 431
    assert _error(answer)["header"] == name
    assert "4096 bytes" in _error(answer)["detail"]


def test_lines_of_a_field_are_counted_together(client: httpx.Client) -> None:
    url = new_item(client)
    line = ("if-none-match", '"' + "x" * 1500 + '"')
    assert client.get(url, headers=[line, line]).status_code == 200
    assert client.get(url, headers=[line, line, line]).status_code == 431


@pytest.mark.parametrize("name", ["accept", "accept-encoding", "prefer"])
def test_two_hundred_members_are_enough(client: httpx.Client, name: str) -> None:
    url = new_item(client)
    member = "*/*" if name == "accept" else "*"
    for count, status in ((201, 200), (202, 431)):
        headers = {name: ",".join([member] * count)}
        if name == "prefer":
            tag = client.get(url).headers["etag"]
            answer = PUT.send(client, b"{}", url=url, if_match=tag, **headers)
        else:
            answer = client.get(url, headers=headers)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("name", ["content-type", "if-match", "prefer", "accept"])
def test_writes_refuse_them_as_well(client: httpx.Client, name: str) -> None:
    url = new_item(client)
    headers = {"if-match": client.get(url).headers["etag"], "content-type": "application/json"}
    headers |= {name: "application/json;" + "a" * 4096}
    answer = client.put(url, content=b'{"data":{}}', headers=headers)
    assert (answer.status_code, _error(answer)["header"]) == (431, name)


def test_without_credentials_nothing_of_it_is_read(service: RunningService) -> None:
    for path in ("/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/v1/items", "/nowhere"):
        answer = httpx.get(service.url + path, headers=LONG)
        assert answer.status_code == 401, path
        assert answer.headers["content-type"] == "application/problem+json"
    second = httpx.get(f"{service.url}/v2/items", headers=LONG)
    assert second.headers["content-type"] == "application/vnd.api+json"


@pytest.mark.parametrize("name", ["cookie", "x-custom", "user-agent", "tracestate", "range"])
def test_fields_added_by_proxies_may_be_long(client: httpx.Client, name: str) -> None:
    answer = client.get(new_item(client), headers={name: "a=b;" * 6000})
    assert answer.status_code == 200


def test_a_traceparent_or_forwarded_list_that_is_long_is_no_reason(client: httpx.Client) -> None:
    long = {"traceparent": "00-" + "a" * 5000, "x-forwarded-for": "1.2.3.4," * 5000}
    assert client.get(new_item(client), headers=long).status_code == 200


def test_a_token_names_its_limit(service: RunningService) -> None:
    for kind, size in (("authorization", 20_000), ("x-api-key", 5_000)):
        value = "Bearer " * (kind == "authorization") + "a" * size
        answer = httpx.get(f"{service.url}/v1/items", headers={kind: value})
        assert answer.status_code == 431
        assert _error(answer)["header"] == kind


def test_a_query_has_at_most_64_parameters(client: httpx.Client) -> None:
    answer = client.get("/v1/items?" + "&".join(f"filter[a{n}]=1" for n in range(65)))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-parameter")
    assert answer.json()["errors"][0]["parameter"] == "filter[a64]"
