"""The limit over HTTP: shared by all workers, true to its word, there without Redis too."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.numbers import scrape, total
from tests.fixtures.running import RunningService, start_service

NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
CAPACITY = 20


@pytest.fixture(scope="module")
def limited(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Two workers; 20 at once, then one every 3 s."""
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("limited"),
        HOTSHELF_HTTP_WORKERS="2",
        HOTSHELF_LIMITS_QUOTA=str(CAPACITY),
        HOTSHELF_LIMITS_FIELDS="always",
        HOTSHELF_HTTP_TRUSTED_PROXIES="127.0.0.0/8",
    )
    running.age_redis()
    yield running
    assert running.stop() == 0


def _statuses(answers: list[httpx.Response]) -> dict[int, int]:
    codes = [answer.status_code for answer in answers]
    return {code: codes.count(code) for code in sorted(set(codes))}


def test_of_many_at_once_exactly_the_capacity_passes(limited: RunningService) -> None:
    def get(_: int) -> httpx.Response:
        with limited.client("burst") as client:  # a connection each: both workers get some
            return client.get(NOBODY)

    started = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(get, range(4 * CAPACITY)))
    drained = int((time.monotonic() - started) / 3) + 1
    passed = _statuses(answers)[404]
    assert CAPACITY <= passed <= CAPACITY + drained
    refused = next(a for a in answers if a.status_code == 429)
    assert refused.json()["code"] == "rate-limited"
    assert refused.headers["ratelimit-policy"] == f'"default";q={CAPACITY};w=60'
    assert re.fullmatch(r'"default";r=0;t=[1-9]\d*', refused.headers["ratelimit"])
    assert int(refused.headers["retry-after"]) >= 1


def test_the_one_request_after_retry_after_passes(limited: RunningService) -> None:
    with limited.client("patient") as client:
        answers = [client.get(NOBODY) for _ in range(CAPACITY + 2)]
        refused = answers[-1]
        assert refused.status_code == 429
        time.sleep(int(refused.headers["retry-after"]))
        assert client.get(NOBODY).status_code == 404


def test_the_reported_rest_is_never_too_high(limited: RunningService) -> None:
    with limited.client("counting") as client:
        told = [client.get(NOBODY).headers["ratelimit"] for _ in range(5)]
    remaining = [int(t.split(";")[1].removeprefix("r=")) for t in told]
    assert all(r <= CAPACITY - n - 1 for n, r in enumerate(remaining))
    assert remaining == sorted(remaining, reverse=True)


def test_the_reported_rest_passes(limited: RunningService) -> None:
    """``r`` is a lower bound for the requests after it, at every worker that reaches Redis."""
    for attempt in range(5):
        before = _decided_locally(limited)
        answers, remaining = _all_that_remain(limited, f"trusting-{attempt}")
        if _decided_locally(limited) == before:
            break
    assert remaining > 0
    assert _statuses(answers) == {404: remaining}


def _all_that_remain(limited: RunningService, subject: str) -> tuple[list[httpx.Response], int]:
    """The answers to as many requests as four others were told remain, and that number."""

    def get() -> httpx.Response:
        with limited.client(subject) as client:
            return client.get(NOBODY)

    for _ in range(4):
        last = get()
    remaining = int(last.headers["ratelimit"].split(";")[1].removeprefix("r="))
    return [get() for _ in range(remaining)], remaining


def _decided_locally(limited: RunningService) -> float:
    """Decisions that a worker made alone, because Redis was too slow for it."""
    return total(scrape(limited.url), "hotshelf_limiter_decisions_total", scope="local")


def test_callers_do_not_share(limited: RunningService) -> None:
    with limited.client("greedy") as greedy, limited.client("modest") as modest:
        assert _statuses([greedy.get(NOBODY) for _ in range(CAPACITY + 5)])[429] >= 1
        assert modest.get(NOBODY).status_code == 404


@pytest.mark.parametrize("kind", ["none", "bad token", "bad key"])
def test_guesses_are_limited_by_address(limited: RunningService, kind: str) -> None:
    address = {"none": "198.51.100.1", "bad token": "198.51.100.2", "bad key": "198.51.100.3"}[kind]
    answers = []
    for n in range(CAPACITY + 5):
        # Entries to the left of the proxy's own are the client's invention.
        headers = {"x-forwarded-for": f"203.0.113.{n}, {address}"}
        if kind == "bad token":
            headers["authorization"] = f"Bearer guess{n}"
        elif kind == "bad key":
            headers["x-api-key"] = f"guess-{n}"
        answers.append(httpx.get(limited.url + NOBODY, headers=headers))
    assert _statuses(answers).keys() == {401, 429}
    # The other worker may hold a few of them in its lease.
    assert _statuses(answers)[401] >= CAPACITY - 5
    elsewhere = {"x-forwarded-for": "198.51.100.99"}
    assert httpx.get(limited.url + NOBODY, headers=elsewhere).status_code == 401


def test_probes_and_preflights_are_never_limited(limited: RunningService) -> None:
    with httpx.Client(base_url=limited.url) as client:
        probes = [client.get("/livez") for _ in range(2 * CAPACITY)]
        preflights = [client.options(NOBODY) for _ in range(2 * CAPACITY)]
    assert _statuses(probes) == {200: 2 * CAPACITY}
    assert _statuses(preflights) == {204: 2 * CAPACITY}
    assert "ratelimit" not in probes[0].headers


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_without_redis_a_reduced_limit_holds(
    small_stack: EmbeddedStack, tmp_path: Path, how: str
) -> None:
    stack = Stack(small_stack.shards, small_stack.redis_url)
    running = start_service(stack, tmp_path, HOTSHELF_LIMITS_QUOTA="100")
    running.age_redis()
    server = small_stack.redis
    try:
        with running.client("someone") as client:
            assert client.get(NOBODY).status_code == 404
            server.kill() if how == "kill" else server.pause()
            time.sleep(1)  # the pipeline's deadline and what was in flight
            answers = [client.get(NOBODY) for _ in range(400)]
            assert _statuses(answers).keys() == {404, 429}
            # A live lease is used up, then a quarter of the capacity passes.
            assert 20 <= _statuses(answers)[404] <= 60
            assert re.fullmatch(r'"default";r=0;t=[1-9]\d*', answers[-1].headers["ratelimit"])
            time.sleep(int(answers[-1].headers["retry-after"]))
            assert client.get(NOBODY).status_code == 404
            _check_others_go_on(running)
            ready = client.get("/readyz")
            assert ready.status_code == 200
            breaker, messages = ready.json()["degraded"]
            # Half-open while it probes.
            assert breaker in ("redis: breaker open", "redis: breaker half-open")
            assert messages == "redis: no messages, near cache off"
            assert client.get("/livez").status_code == 200
            server.restart() if how == "kill" else server.resume()
            for _ in range(100):
                if client.get("/readyz").json()["status"] == "ready":
                    break
                time.sleep(0.1)
            assert client.get("/readyz").json()["status"] == "ready"
        with running.client("someone else") as client:
            # What a new Redis knows nothing of may have been spent: it starts at three quarters.
            passed = _statuses([client.get(NOBODY) for _ in range(90)])[404]
            assert 25 <= passed <= 60 if how == "kill" else passed == 90
    finally:
        assert running.stop() == 0


def _check_others_go_on(running: RunningService) -> None:
    for n in range(50):
        with running.client(f"normal {n}") as client:
            assert client.get(NOBODY).status_code == 404


def test_the_service_starts_without_redis(small_stack: EmbeddedStack, tmp_path: Path) -> None:
    small_stack.redis.kill()
    running = start_service(Stack(small_stack.shards, small_stack.redis_url), tmp_path)
    try:
        with running.client() as client:
            assert "redis: no messages, near cache off" in client.get("/readyz").json()["degraded"]
            assert client.get(NOBODY).status_code == 404
    finally:
        assert running.stop() == 0
