"""Idempotency keys over HTTP: what a client sees of them."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from service.access import signing_keys
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.databases import empty_databases
from tests.fixtures.running import AUDIENCE, ISSUER, RunningService, start_service
from tests.fixtures.stack import execute

JSON = {"content-type": "application/json"}
MERGE = {"content-type": "application/merge-patch+json"}
PATCH = {"content-type": "application/json-patch+json"}
BODY = '{"data":{"name":"kettle","price":19.90,"rank":1e2}}'
# Fields that differ between answers by nature, and the marker of a replay.
OWN = {"x-request-id", "date", "ratelimit", "idempotency-replayed"}


def _key(name: str = "idempotency-key") -> dict[str, str]:
    return {name: uuid4().hex}


def _fields(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN}


def _assert_replay(replay: httpx.Response, first: httpx.Response) -> None:
    assert replay.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert replay.status_code == first.status_code
    assert replay.content == first.content
    assert _fields(replay) == _fields(first)
    if not first.is_success:
        assert replay.headers["x-request-id"] != first.headers["x-request-id"]


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def _created(client: httpx.Client) -> tuple[str, str]:
    answer = client.post("/v1/items", content=BODY, headers=JSON | _key())
    assert answer.status_code == 201, answer.text
    return answer.headers["location"], answer.headers["etag"]


@pytest.mark.parametrize("name", ["idempotency-key", "x-idempotency-key", "x-idempotent-id"])
def test_a_post_again_is_the_first_answer_again(client: httpx.Client, name: str) -> None:
    key = _key(name)
    first = client.post("/v1/items", content=BODY, headers=JSON | key)
    quoted = {"idempotency-key": f'"{key[name]}"'}
    for again in (key, quoted):
        _assert_replay(client.post("/v1/items", content=BODY, headers=JSON | again), first)
    as_items = client.post("/items", content=BODY, headers=JSON | key)
    _assert_replay(as_items, first)


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("PUT", JSON, BODY),
        ("PATCH", MERGE, '{"data":{"price":20.50,"name":null}}'),
        ("PATCH", PATCH, '[{"op":"add","path":"/data/tags","value":[1.0]}]'),
        ("DELETE", {}, ""),
    ],
)
def test_a_change_again_is_the_first_answer_again(
    client: httpx.Client, method: str, headers: dict[str, str], body: str
) -> None:
    """Also after the item went on changing, and was deleted: a replay revives nothing."""
    url, tag = _created(client)
    sent = headers | _key() | {"if-match": tag}
    first = client.request(method, url, content=body, headers=sent)
    assert first.status_code in (200, 204), first.text
    _assert_replay(client.request(method, url, content=body, headers=sent), first)
    client.put(url, content='{"data":{}}', headers=JSON | {"if-match": "*"})
    client.delete(url)
    _assert_replay(client.request(method, url, content=body, headers=sent), first)
    assert client.get(url).status_code == 404


@pytest.mark.parametrize(
    ("method", "headers", "body", "status"),
    [
        ("PUT", JSON | {"if-match": '"9-00000000"'}, BODY, 412),
        ("PATCH", PATCH | {"if-match": "*"}, '[{"op":"test","path":"/version","value":9}]', 409),
        ("PATCH", PATCH | {"if-match": "*"}, '[{"op":"remove","path":"/data/none"}]', 409),
        ("PATCH", MERGE | {"if-match": "*"}, '{"data":null}', 422),
        ("DELETE", {"if-match": '"9-00000000"'}, "", 412),
    ],
)
def test_a_refusal_by_the_item_s_state_is_kept(
    client: httpx.Client, method: str, headers: dict[str, str], body: str, status: int
) -> None:
    url, _ = _created(client)
    sent = headers | _key()
    first = client.request(method, url, content=body, headers=sent)
    assert first.status_code == status
    client.put(url, content='{"data":{"none":1}}', headers=JSON | {"if-match": "*"})
    _assert_replay(client.request(method, url, content=body, headers=sent), first)
    unkeyed = client.request(method, url, content=body, headers=headers)
    assert "idempotency-replayed" not in unkeyed.headers


def test_a_key_is_for_one_request(client: httpx.Client) -> None:
    key = _key()
    first = client.post("/v1/items", content=BODY, headers=JSON | key)
    others = [
        client.post("/v1/items", content='{"data":{}}', headers=JSON | key),
        client.post("/v1/items", content=BODY + " ", headers=JSON | key),
        client.post(
            "/v1/items", content=BODY, headers=key | {"content-type": "application/vnd.api.v1+json"}
        ),
    ]
    assert {(o.status_code, o.json()["code"]) for o in others} == {(422, "idempotency-key-reused")}
    _assert_replay(client.post("/v1/items", content=BODY, headers=JSON | key), first)
    url = first.headers["location"]
    put = client.put(url, content=BODY, headers=JSON | key | {"if-match": "*"})
    assert put.status_code == 200, "another scope: the item's, not the collection's"
    other = client.put(url, content=BODY, headers=JSON | key | {"if-match": first.headers["etag"]})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_keys_belong_to_their_caller(service: RunningService, client: httpx.Client) -> None:
    key = _key()
    first = client.post("/v1/items", content=BODY, headers=JSON | key)
    with service.client("bob") as bob:
        his = bob.post("/v1/items", content=BODY, headers=JSON | key)
    assert (first.status_code, his.status_code) == (201, 201)
    assert first.json()["id"] != his.json()["id"]


def test_a_replay_is_rendered_as_requested(client: httpx.Client) -> None:
    key = _key()
    minimal = {"prefer": "return=minimal"}
    first = client.post("/v1/items", content=BODY, headers=JSON | key | minimal)
    whole = client.post("/v1/items", content=BODY, headers=JSON | key)
    assert (first.status_code, first.content) == (201, b"")
    assert whole.headers["idempotency-replayed"] == "true"
    assert whole.headers["etag"] == first.headers["etag"]
    assert whole.content == client.get(first.headers["location"]).content


def test_errors_of_the_request_alone_leave_the_key_free(
    service: RunningService, client: httpx.Client
) -> None:
    """Bad bodies, no precondition, no or little right, and then the request itself."""
    url, _ = _created(client)
    key = _key()
    expired = signing_keys.mint(service.key, ISSUER, AUDIENCE, "alice", "items:write", -60)
    posts = [
        client.post("/v1/items", content="{", headers=JSON | key),
        client.post("/v1/items", content='{"data":{"a":"\\u0000"}}', headers=JSON | key),
        client.post("/v1/items", content=BODY, headers=key | {"content-type": "text/plain"}),
        client.post(
            "/v1/items", content=BODY, headers=JSON | key | {"authorization": f"Bearer {expired}"}
        ),
    ]
    with service.client(scope="items:read") as reader:
        posts.append(reader.post("/v1/items", content=BODY, headers=JSON | key))
    assert [p.status_code for p in posts] == [400, 422, 415, 401, 403]
    assert client.post("/v1/items", content=BODY, headers=JSON | key).status_code == 201
    with service.client(scope="items:read") as reader:
        again = reader.post("/v1/items", content=BODY, headers=JSON | key)
    assert again.status_code == 403, "a replay needs the right to write, too"
    puts = [
        client.put(url, content=BODY, headers=JSON | key),
        client.put(url, content="{}", headers=JSON | key | {"if-match": "*"}),
        client.put(url, content=BODY, headers=JSON | key | {"if-match": "*"}),
    ]
    assert [p.status_code for p in puts] == [428, 422, 200]


@pytest.fixture
def lone_service(
    stack: EmbeddedStack, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[RunningService, str]]:
    """A service on an empty database, whose URL comes with it, to slow down and to lock up.

    It has two workers, or as many as the parameter says.
    """
    with empty_databases(stack) as [[primary, *_]]:
        running = start_service(
            Stack([[primary]], stack.redis_url),
            tmp_path,
            HOTSHELF_HTTP_WORKERS=str(getattr(request, "param", 2)),
            HOTSHELF_DATABASE_POOL_SIZE="1",
            HOTSHELF_DATABASE_TIMEOUT_S="2",
        )
        yield running, primary
        assert running.stop() == 0


def test_fifty_at_once_make_one_item(lone_service: tuple[RunningService, str]) -> None:
    """Separate connections, two workers, the database slowed to half a second."""
    running, database = lone_service
    execute(
        database,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$",
    )
    execute(
        database, "CREATE TRIGGER slow BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    key = _key()

    def post(_: int) -> httpx.Response:
        with running.client() as client:
            return client.post("/v1/items", content=BODY, headers=JSON | key)

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(post, range(50)))
    made = [a for a in answers if a.status_code == 201]
    busy = [a for a in answers if a.status_code != 201]
    assert len({(a.content, a.headers["etag"], a.headers["location"]) for a in made}) == 1
    assert {(b.status_code, b.json()["code"]) for b in busy} <= {(409, "request-in-progress")}
    assert {b.headers["retry-after"] for b in busy} <= {"1"}
    after = post(0)
    assert (after.status_code, after.content) == (201, made[0].content)
    assert execute(database, "SELECT count(*) FROM items") == [(1,)]


async def _deletes_at_once(running: RunningService, requests: int) -> list[httpx.Response]:
    headers = {"authorization": f"Bearer {running.token()}"}
    limits = httpx.Limits(max_connections=requests)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30) as client:
        url = f"{running.url}/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
        return await asyncio.gather(*(client.delete(url) for _ in range(requests)))


# At most four batches of 64 run and 100 more wait, in each worker.
@pytest.mark.parametrize("lone_service", [1], indirect=True)
def test_a_locked_database(lone_service: tuple[RunningService, str]) -> None:
    """Whoever waits in vain gets 503 in time; the key stays free; the rest is turned away."""
    running, database = lone_service
    key = _key()

    with running.client() as client, psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        late = client.post("/v1/items", content=BODY, headers=JSON | key)
        waiting = asyncio.run(_deletes_at_once(running, 400))
        holder.rollback()
        assert (late.status_code, late.json()["code"]) == (503, "database-timeout")
        answers = {(a.status_code, a.json()["code"]) for a in waiting}
        assert (503, "overloaded") in answers
        # A write that the database has not ended keeps its connection; others hear so at once.
        codes = ("overloaded", "database-timeout", "shard-unavailable")
        assert answers <= {(503, code) for code in codes}
        assert {a.headers["retry-after"] for a in [late, *waiting]} == {"1"}
        time.sleep(1)
        again = client.post("/v1/items", content=BODY, headers=JSON | key)
        assert (again.status_code, again.headers.get("idempotency-replayed")) == (201, None)
