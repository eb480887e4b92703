"""A service whose version 1 is about to end; and traces that go through it."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service

V2 = "application/vnd.api.v2+json"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SUNSET = "Thu, 01 Jul 2027 00:00:00 GMT"


@pytest.fixture(scope="module")
def client(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    settings = {
        "HOTSHELF_VERSIONS_V1_DEPRECATED_AT": "2026-01-31",
        "HOTSHELF_VERSIONS_V1_SUNSET_AT": "2027-07-01",
    }
    folder = tmp_path_factory.mktemp("deprecation")
    running = start_service(Stack(stack.shards, stack.redis_url), folder, **settings)
    with running.client() as client:
        yield client
    assert running.stop() == 0


def _post(client: httpx.Client) -> httpx.Response:
    headers = {"content-type": "application/json", "idempotency-key": str(uuid.uuid4())}
    return client.post("/v1/items", content='{"data":{}}', headers=headers)


def test_every_answer_of_version_1_says_so_once(client: httpx.Client) -> None:
    created = _post(client)
    url, tag = created.headers["location"], created.headers["etag"]
    answers = [
        created,
        client.get(url),
        client.get(url),
        client.get(url, headers={"x-request-id": "another-way"}),
        client.get(url, headers={"if-none-match": tag}),
        client.get(url, params={"fields": "a"}),
        client.get(url.replace("/v1", "/v2"), headers={"accept": "application/vnd.api.v1+json"}),
        client.get("/v1/items", params={"limit": 1}),
        client.get("/items/nothing"),
        client.delete(url, headers={"if-match": '"1-00000000"'}),
        client.delete(url),
    ]
    assert [a.status_code for a in answers] == [
        201,
        200,
        200,
        200,
        304,
        200,
        200,
        200,
        404,
        412,
        204,
    ]
    for answer in answers:
        assert answer.headers.get_list("deprecation") == ["@1769817600"]
        assert answer.headers.get_list("sunset") == [SUNSET]


def test_version_2_and_unversioned_paths_do_not(client: httpx.Client) -> None:
    url = _post(client).headers["location"]
    answers = [
        client.get(url.replace("/v1", "/v2")),
        client.get(url, headers={"accept": V2}),
        client.get("/v2/items/nothing"),
        client.get("/livez"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 200]
    assert not any("deprecation" in a.headers or "sunset" in a.headers for a in answers)


def test_a_trace_is_continued(service: RunningService) -> None:
    headers = {"traceparent": TRACEPARENT}
    with service.client() as client:
        url = _post(client).headers["location"]
        read = client.get(url, headers=headers)
        problem = client.get("/v1/items/nothing", headers=headers)
        document = client.get("/v2/items/nothing", headers=headers)
        outside = [client.get(url), client.get(url, headers={"traceparent": "00-nonsense"})]
    for answer in (read, problem, document):
        version, trace_id, span_id, flags = answer.headers["traceparent"].split("-")
        assert (version, trace_id, flags) == ("00", TRACE, "01")
        assert span_id not in TRACEPARENT
    assert problem.json()["trace_id"] == document.json()["meta"]["trace_id"] == TRACE
    assert not any("traceparent" in answer.headers for answer in outside)
