"""Writes while a shard's primary dies, hangs, restarts, or hands over to its replica."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import eventually, execute

JSON = {"content-type": "application/json"}
BODY = '{"data":{"n":1}}'
POLLS = 100
ABSENT = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def running(small_stack: EmbeddedStack, tmp_path: Path) -> Iterator[RunningService]:
    running = start_service(
        Stack(small_stack.shards, small_stack.redis_url), tmp_path, HOTSHELF_HTTP_WORKERS="2"
    )
    yield running
    assert running.stop() == 0


def _post(client: httpx.Client, key: str) -> httpx.Response:
    return client.post("/v1/items", content=BODY, headers=JSON | {"idempotency-key": key})


def _until_created(client: httpx.Client, key: str) -> httpx.Response:
    """Repeat the request until it is answered for good; 10 s or so at most."""
    for _ in range(POLLS):
        answer = _post(client, key)
        if answer.status_code == 201:
            return answer
        assert answer.status_code in (409, 503), answer.text
        assert int(answer.headers["retry-after"]) >= 1
        time.sleep(0.1)
    pytest.fail(answer.text)


def test_a_dead_primary_and_its_return(small_stack: EmbeddedStack, running: RunningService) -> None:
    """503 at once, not kept; when the primary is back, the same key makes the item."""
    primary = small_stack.node(0, 0)
    key = uuid4().hex
    with running.client() as client:
        before = _post(client, uuid4().hex)
        primary.kill()
        refused = [_post(client, key) for _ in range(20)]
        assert {(r.status_code, r.json()["code"]) for r in refused} == {(503, "shard-unavailable")}
        assert {r.headers["retry-after"] for r in refused} == {"1"}
        primary.spawn()
        primary.await_ready()
        made = _until_created(client, key)
        assert "idempotency-replayed" not in made.headers
        assert _post(client, key).content == made.content
        assert client.get(before.headers["location"]).content == before.content
    assert execute(primary.url, "SELECT count(*) FROM items") == [(2,)]


def test_a_frozen_primary_costs_one_wait(
    small_stack: EmbeddedStack, running: RunningService
) -> None:
    """After the first failure no write waits: no primary is known until it answers again."""
    primary = small_stack.node(0, 0)
    with running.client() as client:
        assert _post(client, uuid4().hex).status_code == 201
        primary.pause()
        try:
            with ThreadPoolExecutor(8) as threads:
                first = list(threads.map(lambda _: _post(client, uuid4().hex), range(8)))
            later = [_post(client, uuid4().hex) for _ in range(50)]
        finally:
            primary.resume()
        assert {a.status_code for a in first} == {503}
        assert {(a.status_code, a.json()["code"]) for a in later} == {(503, "shard-unavailable")}
        key = uuid4().hex
        made = _until_created(client, key)
        assert _post(client, key).content == made.content


def test_fifty_duplicates_over_a_restart(
    small_stack: EmbeddedStack, running: RunningService
) -> None:
    """The key's primary restarts while they run; Redis is away as well."""
    key = uuid4().hex
    small_stack.redis.kill()

    def post(_: int) -> httpx.Response:
        with running.client() as client:
            return _until_created(client, key)

    with ThreadPoolExecutor(50) as threads:
        answers = [threads.submit(post, n) for n in range(50)]
        small_stack.node(0, 0).restart()
        bodies = {answer.result().content for answer in answers}
    assert len(bodies) == 1
    assert execute(small_stack.node(0, 0).url, "SELECT count(*) FROM items") == [(1,)]


@contextmanager
def _traffic(running: RunningService, made: list[httpx.Response]) -> Iterator[None]:
    """Four clients that create without a rest; each repeats until it is answered for good."""
    done = threading.Event()

    def create() -> None:
        with running.client() as client:
            while not done.is_set():
                made.append(_until_created(client, uuid4().hex))

    with ThreadPoolExecutor(4) as threads:
        clients = [threads.submit(create) for _ in range(4)]
        try:
            yield
        finally:
            done.set()
        for client in clients:
            client.result()


def _wait_for(made: list[httpx.Response], more: int) -> None:
    wanted = len(made) + more
    for _ in range(POLLS * 3):
        if len(made) >= wanted:
            return
        time.sleep(0.1)
    pytest.fail("no more writes")


def test_a_primary_that_became_read_only(
    small_stack: EmbeddedStack, running: RunningService
) -> None:
    """Its connections stay, and each write on them is refused with 25006."""
    old, new = small_stack.node(0, 0), small_stack.node(0, 1)
    made: list[httpx.Response] = []
    with _traffic(running, made):
        _wait_for(made, 50)
        execute(old.url, "ALTER SYSTEM SET default_transaction_read_only = on")
        execute(old.url, "SELECT pg_reload_conf()")
        [[end]] = execute(old.url, "SELECT pg_current_wal_lsn()::text")
        eventually(new.url, f"SELECT pg_last_wal_replay_lsn() >= '{end}'", True)
        new.promote()
        _wait_for(made, 50)
    stored = execute(new.url, "SELECT count(*) FROM items")
    assert stored == [(len(made),)]
    with running.client() as client:
        for answer in made[:5] + made[-50:]:
            assert client.get(answer.headers["location"]).content == answer.content
        again = [_post(client, uuid4().hex) for _ in range(100)]
        assert {a.status_code for a in again} == {201}
