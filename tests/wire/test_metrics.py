"""/metrics: access, correct counts, and a bounded number of series."""

import random
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics

from service.embedded import EmbeddedStack, Stack
from service.observe.exposition import OPENMETRICS
from service.observe.metrics import REGISTRY
from tests.fixtures.numbers import Series, scrape, total
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import Connection, eventually, request

AT_ONCE = 50
ANSWERS = "hotshelf_request_duration_seconds_count"


@pytest.fixture(scope="module")
def running(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("metrics")
    service = start_service(Stack(stack.shards, stack.redis_url), folder, HOTSHELF_HTTP_WORKERS="2")
    yield service
    assert service.stop() == 0


def test_this_machine_and_admins_may_see_it(running: RunningService) -> None:
    url = f"{running.url}/metrics"
    answer = httpx.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert all(f"# HELP {name} " in answer.text for name in REGISTRY.described)
    for host in ("localhost", "localhost:1", "LOCALHOST", "127.0.0.1", "127.9.9.9:80", "[::1]:80"):
        assert httpx.get(url, headers={"host": host}).status_code == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "::1:", "x"):
        assert httpx.get(url, headers={"host": host}).status_code == 401, host
    own = running.url
    assert httpx.get(url, headers={"origin": own}).status_code == 200
    assert httpx.get(url, headers={"origin": "http://evil.example"}).status_code == 401
    for field in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "Origin"):
        passed_on = {field: "127.0.0.1"}
        assert httpx.get(url, headers=passed_on).status_code == 401
        with running.client() as client:
            refused = client.get("/metrics", headers=passed_on)
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient-scope")
        with running.client("ada", "items:admin") as client:
            assert client.get("/metrics", headers=passed_on).status_code == 200


def test_the_open_door_can_be_shut(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Proxies of this machine may add no field by which they could be told from it."""
    service = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("shut"),
        HOTSHELF_HTTP_OPEN_METRICS="false",
    )
    assert httpx.get(f"{service.url}/metrics").status_code == 401
    with service.client("ada", "items:admin") as client:
        assert client.get("/metrics").status_code == 200
    assert service.stop() == 0


def test_either_worker_shows_both(running: RunningService) -> None:
    numbers = {
        dict(labels)["worker"]
        for (name, labels) in scrape(running.url)
        if name == "hotshelf_worker_memory_bytes"
    }
    assert numbers == {"0", "1"}
    assert total(scrape(running.url), "hotshelf_workers") == 2


def _settled(running: RunningService) -> Series:
    """The numbers once both workers have published earlier tests, which they do each second."""
    seen: Series = {}

    def is_still() -> bool:
        nonlocal seen
        last, seen = seen, scrape(running.url)
        time.sleep(1.5)
        return bool(last) and total(last, ANSWERS) + 1 == total(seen, ANSWERS)

    eventually(is_still)
    return seen


def test_reads_and_answers_are_counted(running: RunningService) -> None:
    with running.client("olga") as owner, running.client("reader") as reader:
        key = {"idempotency-key": f"metrics-{time.time_ns()}"}
        made = owner.post("/v1/items", json={"data": {}}, headers=key)
        path = f"/v1/items/{made.json()['id']}"
        before = _settled(running)
        for _ in range(40):
            assert reader.get(path).status_code == 200
        assert reader.get(f"{path}?unknown=1").status_code == 400
        assert reader.get("/v1/items/0").status_code == 404
        assert owner.delete(path, headers={"if-match": made.headers["etag"]}).status_code == 204

    template = "/v1/items/{id}"

    def counted() -> dict[str, float]:
        """By one and the same answer: those to the next may come from the other worker."""
        after = scrape(running.url)

        def grew(name: str, **labels: str) -> float:
            return total(after, name, **labels) - total(before, name, **labels)

        def answers(method: str, status: str) -> float:
            return grew(
                ANSWERS,
                method=method,
                route=template,
                status=status,
            )

        return {
            "reads": grew("hotshelf_reads_total"),
            "deleted": answers("DELETE", "2xx"),
            "found": answers("GET", "2xx"),
            "refused": answers("GET", "4xx"),
            "near": grew("hotshelf_reads_total", source="near"),
            "hits": grew("hotshelf_near_cache_hits_total"),
            "misses": grew("hotshelf_near_cache_misses_total"),
        }

    # The other worker's numbers may be a second old.
    wanted = {"reads": 40, "deleted": 1, "found": 40, "refused": 2}
    eventually(lambda: wanted.items() <= counted().items())
    seen = counted()
    assert seen["near"] == seen["hits"] > 20
    assert seen["misses"] >= 2


def test_counters_never_seem_to_go_back(running: RunningService) -> None:
    """Whichever worker answers: a scraper would take it for a restart."""
    with running.client("reader") as reader:
        last = 0.0
        for _ in range(60):
            reader.get("/v1/items/0")
            now = total(scrape(running.url), ANSWERS, status="4xx")
            assert now >= last
            last = now


def _inventions(rng: random.Random) -> Iterator[bytes]:
    host = [b"%d.example" % rng.randrange(10**9) for _ in range(50)]
    text = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    for number in range(5000):
        agent = f"User-Agent: a{number}"
        yield request("GET", f"/{rng.randrange(10**12):x}/{number}", agent)
        yield request("GET", f"/v1/items/0{''.join(rng.choices(text, k=25))}", agent)
    for number in range(200):
        yield request(f"FOO{number}", "/v1/items")
    for number in range(1000):
        accept = f"Accept: application/vnd.hotshelf.v{number}+json"
        yield request("GET", "/v1/items", accept, f"X-API-Key: made-up-{number}")
        named = request("GET", "/v1/items").replace(b"Host: ", b"Host: %b." % rng.choice(host))
        yield named


def test_clients_cannot_create_series(running: RunningService) -> None:
    """Invented paths, methods, versions, keys and hosts make no new series."""
    rng = random.Random(32)
    invented = list(_inventions(rng))
    before = scrape(running.url)
    port = int(running.url.rpartition(":")[2])
    statuses: dict[int, int] = {}
    while invented:
        some, invented = invented[:AT_ONCE], invented[AT_ONCE:]
        with Connection(port) as connection:
            connection.send(b"".join(some))
            for _ in some:
                status = connection.answer().status
                statuses[status] = statuses.get(status, 0) + 1
    assert set(statuses) <= {401, 404, 405, 406, 501}
    after: Series = {}

    def all_told() -> bool:
        nonlocal after
        after = scrape(running.url)
        told = total(after, ANSWERS) - total(before, ANSWERS)
        return told >= sum(statuses.values())

    eventually(all_told)
    new = {key for key in after.keys() - before.keys() if not key[0].endswith("_bucket")}
    assert len(new) <= 24, new
    values = {value for _, labels in after for _, value in labels}
    assert not [v for v in values if "FOO" in v or "example" in v or "made-up" in v]


def test_openmetrics_names_the_traces_of_slow_and_quick_answers(running: RunningService) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with running.client("reader") as reader:
        sampled = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        assert reader.get("/v1/items/0", headers=sampled).status_code == 404
    accept = {"accept": "application/openmetrics-text"}

    def examples() -> set[str]:
        answer = httpx.get(f"{running.url}/metrics", headers=accept)
        assert answer.headers["content-type"] == OPENMETRICS
        assert "Accept" in answer.headers["vary"]
        return {
            sample.exemplar.labels["trace_id"]
            for family in openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
            for sample in family.samples
            if sample.exemplar is not None
        }

    eventually(lambda: trace in examples())
