"""The service's log of requests: one object per line, without text from clients."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.printed import PRINTED
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import Connection, eventually, request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def running(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("logs")
    running = start_service(
        Stack(stack.shards, stack.redis_url), folder, HOTSHELF_LOG_ACCESS_SAMPLE="1"
    )
    yield running
    assert running.stop() == 0
    assert all(json.loads(line)["event"] for line in running.log.read_text().splitlines())


def lines(running: RunningService, **wanted: object) -> list[dict[str, Any]]:
    said = [json.loads(line) for line in running.log.read_text().splitlines()]
    return [line for line in said if wanted.items() <= line.items()]


def one(running: RunningService, **wanted: object) -> dict[str, Any]:
    eventually(lambda: bool(lines(running, **wanted)))
    [line] = lines(running, **wanted)
    return line


def test_a_request_is_one_line_with_its_ids_and_source(running: RunningService) -> None:
    sent = {"x-request-id": "log-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with running.client("ada") as client:
        assert client.get("/v1/items/0", headers=sent).status_code == 404
        client.get("/v1/items/0", headers={"x-request-id": "log-2"})
    with running.client("bob") as client:
        client.get("/v1/items/0", headers={"x-request-id": "log-3"})
    line = one(running, request_id="log-1")
    assert line["trace_id"] == TRACE
    assert (line["event"], line["method"], line["route"]) == ("request", "GET", "/v1/items/{id}")
    assert (line["status"], line["worker"]) == (404, 0)
    assert 0 < line["duration_ms"] < 60_000
    assert line["bytes"] > 0
    assert line["caller"] == one(running, request_id="log-2")["caller"]
    assert line["caller"] != one(running, request_id="log-3")["caller"]


def test_the_hot_path_is_logged_too(running: RunningService) -> None:
    with running.client("olga") as owner, running.client("log-reader") as reader:
        made = owner.post("/v1/items", json={"data": {}}, headers={"idempotency-key": "log-hot"})
        path = f"/v1/items/{made.json()['id']}"
        for _ in range(4):
            assert reader.get(path).status_code == 200
        reader.get("/v1/items/0", headers={"x-request-id": "log-hot-caller"})
    caller = one(running, request_id="log-hot-caller")["caller"]
    said = lines(running, caller=caller, status=200)
    sources = [line["source"] for line in said]
    assert len(sources) == len({line["request_id"] for line in said}) == 4
    assert sources[-1] == "near"
    assert set(sources) <= {"near", "redis", "replica", "primary"}


def test_no_secret_and_no_value_is_in_any_line(running: RunningService) -> None:
    """Planted wherever a client may put something; the session's own search looks again."""
    planted = {name: PRINTED.note(f"{name}-{secrets.token_hex(12)}") for name in (
        "key", "cookie", "query", "body", "bearer", "basic", "filter", "agent", "header", "path",
    )}  # fmt: skip
    odd = {"cookie": f"session={planted['cookie']}", "user-agent": planted["agent"]}
    with httpx.Client(base_url=running.url) as stranger:
        stranger.get("/v1/items", headers=odd | {"x-api-key": planted["key"]})
        stranger.get("/v1/items", headers={"authorization": f"Bearer {planted['bearer']}"})
        stranger.post("/oauth2/token", auth=("client", planted["basic"]), data={"grant_type": "x"})
        stranger.get(f"/{planted['path']}", headers={"x-made-up": planted["header"]})
    with running.client("ada") as client:
        body = {"data": {"name": planted["body"]}}
        key = {"idempotency-key": planted["key"]}
        assert client.post("/v1/items", json=body, headers=odd | key).status_code == 201
        assert client.post("/v1/items", json=[planted["body"]], headers=key).status_code == 422
        client.get(f"/v1/items?filter[name]={planted['filter']}")
        client.get(f"/v1/items?nothing={planted['query']}")
        client.get("/v1/items?cursor=" + planted["query"])
        last = client.get("/v1/items/0", headers={"x-request-id": "log-last"})
    one(running, request_id="log-last")
    told = running.log.read_text() + httpx.get(f"{running.url}/metrics").text + last.text
    assert [name for name, value in planted.items() if value in told] == []


def test_lines_cannot_be_forged(running: RunningService) -> None:
    port = int(running.url.rpartition(":")[2])
    forged = '{"event":"forged"}'
    for sent in (
        request("GET", f"/v1/items/{forged}"),
        request("GET", "/v1/items/%0A%7B%22event%22%3A%20%22forged%22%7D"),
        request("GET", "/v1/items", f"X-Request-Id: x{forged}"),
        request("GET", "/v1/items", f"traceparent: {forged}"),
        request("GET", "/v1/items", f"User-Agent: \x85{forged}"),
        request(f"GET{forged}", "/v1/items"),
    ):
        with Connection(port) as connection:
            connection.send(sent)
            # What is no HTTP at all is not answered.
            with contextlib.suppress(AssertionError):
                connection.answer()
    with running.client("ada") as client:
        client.get("/v1/items/0", headers={"x-request-id": "log-after"})
    one(running, request_id="log-after")
    assert lines(running, event="forged") == []
    assert "forged" not in running.log.read_text()


def test_the_start_is_logged_with_fields(running: RunningService) -> None:
    assert one(running, event="shard-map", worker=0)["buckets"] == 16
    assert one(running, event="failover", shard=1)["primary"] == "shard-1/node-0"
    assert one(running, event="key-set")["added"] == 1
    assert lines(running, logger="_granian")
