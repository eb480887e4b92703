"""Lists and searches over HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.decompression import DECOMPRESS
from tests.fixtures.lists import BUCKETS
from tests.fixtures.running import RunningService, start_service

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def listing(
    stack: EmbeddedStack, list_urls: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service over the three shards of the list tests, with 25 items."""
    for url in list_urls:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DELETE FROM items")
            connection.execute("DELETE FROM idempotency_keys")
    running = start_service(
        Stack([[url] for url in list_urls], stack.redis_url),
        tmp_path_factory.mktemp("lists"),
        HOTSHELF_HTTP_WORKERS="2",
        HOTSHELF_HTTP_PUBLIC_URL="https://shelf.example",
        HOTSHELF_DATABASE_BUCKETS=str(BUCKETS),
        HOTSHELF_LISTS_ATTRIBUTES="rank section",
    )
    with running.client() as client:
        for n in range(25):
            body = {"data": {"rank": n % 5, "section": "libs" if n % 2 else "net", "n": n}}
            headers = JSON | {"idempotency-key": uuid4().hex}
            assert client.post("/v1/items", json=body, headers=headers).status_code == 201
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(listing: RunningService) -> Iterator[httpx.Client]:
    with listing.client() as client:
        yield client


def test_a_page(client: httpx.Client) -> None:
    answer = client.get("/v1/items?limit=3")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Accept, Accept-Encoding, Authorization, X-API-Key"
    assert "etag" not in answer.headers
    page = answer.json()
    assert list(page) == ["items", "next_cursor", "prev_cursor"]
    assert page["prev_cursor"] is None
    for entry in page["items"]:
        single = client.get(f"/v1/items/{entry['id']}")
        assert entry.pop("etag") == single.headers["etag"]
        assert entry == single.json()
    assert client.get("/items?limit=3").json()["items"] == answer.json()["items"]


def test_links_lead_through_the_whole_list(client: httpx.Client) -> None:
    seen: list[str] = []
    first = "/v1/items?sort=-rank&limit=10&filter[rank][lt]=4"
    url: str | None = first
    for _ in range(10):
        assert url is not None
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        seen += [entry["id"] for entry in answer.json()["items"]]
        links = _links(answer)
        if "next" not in links:
            break
        assert links["next"].startswith("https://shelf.example/v1/items?")
        url = links["next"].removeprefix("https://shelf.example")
    assert len(seen) == len(set(seen)) == 20
    back = client.get(links["prev"].removeprefix("https://shelf.example")).json()
    assert [entry["id"] for entry in back["items"]] == seen[:10]
    assert "prev" not in _links(client.get(first))


def _links(answer: httpx.Response) -> dict[str, str]:
    found = re.findall(r'<([^>]*)>; rel="(\w+)"', answer.headers.get("link", ""))
    return {relation: url for url, relation in found}


def test_head_is_get_without_the_body(client: httpx.Client) -> None:
    get, head = client.get("/v1/items?limit=3"), client.head("/v1/items?limit=3")
    different = {"date", "x-request-id", "ratelimit"}
    assert head.content == b""
    assert {k: v for k, v in head.headers.items() if k not in different} == {
        k: v for k, v in get.headers.items() if k not in different
    }


def test_only_some_fields(client: httpx.Client) -> None:
    whole = client.get("/v1/items?limit=2").json()["items"]
    some = client.get("/v1/items?limit=2&fields=n,nothing").json()["items"]
    for full, chosen in zip(whole, some, strict=True):
        assert chosen == full | {"data": {"n": full["data"]["n"]}}
    searched = client.post("/v1/items/search", json={"limit": 2, "fields": ["n", "nothing"]})
    assert searched.json()["items"] == some


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_a_search_is_a_list(client: httpx.Client, prefix: str) -> None:
    query = "/v1/items?sort=-rank&filter[rank][gte]=2&filter[section][ne]=net&limit=4"
    body = {"sort": "-rank", "limit": 4, "filter": {"rank": {"gte": 2}, "section": {"ne": "net"}}}
    listed, found = client.get(query), client.post(f"{prefix}/items/search", json=body)
    assert found.status_code == 200, found.text
    assert found.json()["items"] == listed.json()["items"]
    cursor = found.json()["next_cursor"]
    more = client.post(f"{prefix}/items/search", json=body | {"cursor": cursor}).json()
    assert more["items"] == client.get(f"{query}&cursor={cursor}").json()["items"]
    assert "link" not in found.headers


@pytest.mark.parametrize(("query", "total"), [("", 25), ("filter[section]=net&", 13)])
def test_a_total_only_on_request(client: httpx.Client, query: str, total: int) -> None:
    exact = client.get(f"/v1/items?{query}limit=1", headers={"prefer": "count=exact"})
    assert (exact.json()["total"], exact.headers["preference-applied"]) == (total, "count=exact")
    rough = client.get(f"/v1/items?{query}limit=1", headers={"prefer": 'count="estimated"'})
    assert isinstance(rough.json()["total"], int)
    assert rough.headers["preference-applied"] == "count=estimated"
    for other in ("count=some", "return=minimal"):
        plain = client.get("/v1/items", headers={"prefer": other})
        assert plain.status_code == 200
        assert "total" not in plain.json()
        assert "preference-applied" not in plain.headers


def test_an_owner_lists_what_it_just_wrote(client: httpx.Client) -> None:
    data = {"rank": 77}
    key = JSON | {"idempotency-key": uuid4().hex}
    made = client.post("/v1/items", json={"data": data}, headers=key)
    query = "/v1/items?filter[rank]=77&filter[owner_id]=alice"
    (entry,) = client.get(query).json()["items"]
    assert entry["id"] == made.json()["id"]
    url = f"/v1/items/{entry['id']}"
    changed = client.put(
        url, json={"data": data | {"n": 1}}, headers=JSON | {"if-match": entry["etag"]}
    )
    assert changed.status_code == 200
    assert client.get(query).json()["items"][0]["etag"] == changed.headers["etag"]
    assert client.delete(url).status_code == 204
    assert client.get(query).json()["items"] == []


def test_scopes_of_lists(listing: RunningService) -> None:
    with listing.client("bob", "items:read") as reader:
        assert len(reader.get("/v1/items").json()["items"]) == 20
    with listing.client("bob", "items:write") as writer:
        for answer in (writer.get("/v1/items"), writer.post("/v1/items/search", json={})):
            assert answer.status_code == 403
            assert answer.json()["code"] == "insufficient-scope"
    assert httpx.get(f"{listing.url}/v1/items").status_code == 401


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid-parameter"),
        ("cursor=x", "invalid-cursor"),
        ("sort=n", "unindexed-query"),
    ],
)
def test_what_is_refused(client: httpx.Client, query: str, code: str) -> None:
    answer = client.get(f"/v1/items?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["errors"][0]["parameter"] == query.split("=", maxsplit=1)[0]


def test_negotiation(client: httpx.Client) -> None:
    vendor = "application/vnd.api.v1+json"
    chosen = client.get("/v1/items", headers={"accept": vendor})
    assert chosen.headers["content-type"] == vendor
    refused = client.get("/v1/items", headers={"accept": "text/html"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not-acceptable")
    plain = client.post("/v1/items/search", content=b"{}", headers={"content-type": "text/plain"})
    assert (plain.status_code, plain.json()["code"]) == (415, "unsupported-media-type")


def test_the_secret_of_cursors_is_in_no_log(
    listing: RunningService, list_urls: list[str], client: httpx.Client
) -> None:
    assert client.get("/v1/items?cursor=AAAA").status_code == 400
    with psycopg.connect(list_urls[0]) as connection:
        row = connection.execute("SELECT encode(secret, 'hex') FROM cursor_key").fetchone()
    assert row is not None
    assert row[0] not in Path(listing.log).read_text()


@pytest.mark.parametrize("coding", DECOMPRESS)
@pytest.mark.parametrize("prefix", ["/v1", "/v2"])
def test_a_page_travels_compressed(client: httpx.Client, prefix: str, coding: str) -> None:
    for method, url, body in (
        ("GET", f"{prefix}/items", b""),
        ("POST", f"{prefix}/items/search", b"{}"),
    ):
        plain = client.request(
            method, url, content=body, headers=JSON | {"accept-encoding": "identity"}
        )
        headers = JSON | {"accept-encoding": coding}
        with client.stream(method, url, content=body, headers=headers) as compressed:
            raw = b"".join(compressed.iter_raw())
        assert compressed.headers["content-encoding"] == coding
        assert int(compressed.headers["content-length"]) == len(raw) < len(plain.content)
        assert DECOMPRESS[coding](raw) == plain.content
        assert "content-encoding" not in plain.headers


def test_a_small_page_travels_as_it_is(client: httpx.Client) -> None:
    answer = client.get("/v1/items?limit=1", headers={"accept-encoding": "br"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_in_no_coding_at_all_is_406(client: httpx.Client, method: str) -> None:
    url, body = ("/v1/items", b"") if method == "GET" else ("/v1/items/search", b"{}")
    headers = JSON | {"accept-encoding": "*;q=0"}
    answer = client.request(method, url, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")
