"""Spans, metrics and log lines at a collector: which, how many, and without secrets."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.collector import Collector, attributes, running_collector
from tests.fixtures.printed import PRINTED
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import execute
from tests.fixtures.wire import eventually

PARENT = "00f067aa0ba902b7"
ROUTE = "/v1/items/{id}"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def running(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[RunningService]:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("tracing"),
        HOTSHELF_OTEL_TRACES="true",
        HOTSHELF_OTEL_METRICS="true",
        HOTSHELF_OTEL_LOGS="true",
        HOTSHELF_OTEL_SAMPLE="0",
        HOTSHELF_OTEL_PER_S="5",
        HOTSHELF_OTEL_METRICS_EVERY_S="1",
        HOTSHELF_LOG_ACCESS_SAMPLE="1",
        # Of the two ways to name the collector the standard one.
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_BLRP_SCHEDULE_DELAY="100",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(autouse=True)
def _rate_is_left(running: RunningService) -> None:
    """Whatever the test before has used up of the five a second."""
    time.sleep(1.2)


def flagged(trace: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-{flags}"}


def of_trace(collector: Collector, trace: str) -> list[Any]:
    return [span for span in collector.spans() if span.trace_id.hex() == trace]


def named(collector: Collector, trace: str) -> set[tuple[str, str | None]]:
    spans = of_trace(collector, trace)
    return {(span.name, attributes(span).get("db.operation.name")) for span in spans}


def test_a_sampled_write_shows_where_its_time_went(
    running: RunningService, collector: Collector
) -> None:
    trace = secrets.token_hex(16)
    # This caller has no lease yet, so the limiter calls Redis.
    with running.client("someone-new") as client:
        key = {"idempotency-key": "traced", "prefer": "request-id"}
        answer = client.post("/v1/items", json={"data": {}}, headers=flagged(trace) | key)
    assert answer.status_code == 201
    eventually(lambda: {s.name for s in of_trace(collector, trace)} >= {"POST /v1/items"})
    spans = of_trace(collector, trace)
    [server] = [span for span in spans if span.name == "POST /v1/items"]
    assert server.parent_span_id.hex() == PARENT
    assert answer.headers["traceparent"] == f"00-{trace}-{server.span_id.hex()}-01"
    said = attributes(server)
    assert (said["http.route"], said["http.response.status_code"]) == ("/v1/items", 201)
    assert said["hotshelf.request_id"] == answer.headers["x-request-id"]
    wanted = {("limiter", None), ("redis", "take"), ("postgresql", "create")}
    eventually(lambda: wanted <= named(collector, trace))
    ids = {span.span_id for span in of_trace(collector, trace)}
    children = [span for span in of_trace(collector, trace) if span is not server]
    assert all(span.parent_span_id in ids or span.name == server.name for span in children)


def test_a_sampled_read_shows_redis_and_the_database(
    running: RunningService, collector: Collector
) -> None:
    with running.client("ada") as client:
        made = client.post("/v1/items", json={"data": {}}, headers={"idempotency-key": "read"})
    trace = secrets.token_hex(16)
    with running.client("reader") as client:
        assert client.get(f"/v1/items/{made.json()['id']}", headers=flagged(trace)).is_success
    eventually(lambda: len(of_trace(collector, trace)) >= 3)
    wanted = {(f"GET {ROUTE}", None), ("redis", "get"), ("postgresql", "read")}
    eventually(lambda: wanted <= named(collector, trace))


def test_an_unsampled_request_makes_no_span(running: RunningService, collector: Collector) -> None:
    silent, asked, last = (secrets.token_hex(16) for _ in range(3))
    with running.client("ada") as client:
        client.get("/v1/items/0", headers=flagged(silent, "00"))
        client.get("/v1/items/0")
        client.get("/v1/items/0", headers=flagged(last))
    eventually(lambda: bool(of_trace(collector, last)))
    assert of_trace(collector, silent) == of_trace(collector, asked) == []


def test_callers_cannot_have_more_spans_than_our_rate(
    running: RunningService, collector: Collector
) -> None:
    traces = [secrets.token_hex(16) for _ in range(200)]
    with running.client("ada") as client:
        answers = [client.get("/v1/items/0", headers=flagged(trace)) for trace in traces]
        took_s = sum(answer.elapsed.total_seconds() for answer in answers)
    last = secrets.token_hex(16)

    def told() -> bool:
        with running.client("ada") as client:
            client.get("/v1/items/0", headers=flagged(last))
        return bool(of_trace(collector, last))

    eventually(told)
    seen = {span.trace_id.hex() for span in collector.spans()} & set(traces)
    assert 0 < len(seen) <= 5 + 5 * (took_s + 10)
    assert len(seen) < len(traces)


def test_a_relay_is_a_trace_of_its_own(
    stack: EmbeddedStack, collector: Collector, tmp_path: Path
) -> None:
    """Outside of any request: a writer died between its COMMIT and the invalidation."""
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path,
        HOTSHELF_OTEL_TRACES="true",
        HOTSHELF_OTEL_SAMPLE="1",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    left = "INSERT INTO cache_outbox VALUES (gen_random_uuid(), 1, cache_epoch(0))"

    def relayed() -> bool:
        """By this service, and not by another that is running on these servers."""
        execute(stack.shards[0][0], left)
        return any(span.name == "relay" for span in collector.spans())

    eventually(relayed)
    relay = next(span for span in collector.spans() if span.name == "relay")
    assert attributes(relay)["hotshelf.rows"] >= 1
    inside = [span for span in collector.spans() if span.parent_span_id == relay.span_id]
    assert ("redis", "mark") in {(s.name, attributes(s)["db.operation.name"]) for s in inside}
    assert running.stop() == 0


def test_metrics_are_those_of_a_scrape(running: RunningService, collector: Collector) -> None:
    eventually(lambda: "hotshelf_request_duration_seconds" in collector.metrics())
    found = collector.metrics()
    spread = found["hotshelf_request_duration_seconds"].histogram
    assert spread.aggregation_temporality == 2, "cumulative"
    point = spread.data_points[0]
    assert point.count == sum(point.bucket_counts) > 0
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert found["hotshelf_sent_bytes_total"].sum.is_monotonic
    assert found["hotshelf_workers"].gauge.data_points[0].as_double == 1


def test_log_lines_have_their_fields(running: RunningService, collector: Collector) -> None:
    with running.client("ada") as client:
        client.get("/v1/items/0", headers={"x-request-id": "otlp-1"})

    def mine() -> list[Any]:
        records = [(r, attributes(r)) for r in collector.log_records()]
        return [r for r, said in records if said.get("request_id") == "otlp-1"]

    eventually(lambda: bool(mine()))
    [record] = mine()
    assert record.body.string_value == "request"
    assert attributes(record)["status"] == 404


def test_no_secret_leaves_by_otlp(running: RunningService, collector: Collector) -> None:
    planted = {n: PRINTED.note(f"{n}-{secrets.token_hex(12)}") for n in ("key", "query", "body")}
    trace = secrets.token_hex(16)
    with running.client("ada") as client:
        client.post(
            "/v1/items",
            json={"data": {"name": planted["body"]}},
            headers=flagged(trace) | {"idempotency-key": planted["key"]},
        )
        client.get(f"/v1/items?filter[name]={planted['query']}", headers=flagged(trace))
    httpx.get(f"{running.url}/v1/items", headers={"x-api-key": planted["key"]} | flagged(trace))

    def told() -> bool:
        with running.client("ada") as client:
            client.get("/v1/items/0", headers=flagged(trace) | {"x-request-id": "otlp-last"})
        said = [attributes(record) for record in collector.log_records()]
        return any(s.get("request_id") == "otlp-last" for s in said)

    eventually(told)
    everything = b"".join(collector.bodies)
    assert [name for name, value in planted.items() if value.encode() in everything] == []
    assert running.token("ada").rpartition(".")[2].encode() not in everything
