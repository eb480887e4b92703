"""Batches in version 2: the same operations, answered by JSON:API documents."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonapi_pydantic.v1_0 import TopLevel  # type: ignore[import-untyped]

from tests.fixtures.running import RunningService

JSON_API = "application/vnd.api+json"
V2 = "application/vnd.api.v2+json"
MISSING = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("batches-v2") as client:
        yield client


def _send(client: httpx.Client, *operations: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/v2/items:batch", json={"operations": operations} | more)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON_API), answer.text
    TopLevel.model_validate(answer.json())
    assert answer.json()["jsonapi"] == {"version": "1.1"}
    results: list[dict[str, Any]] = answer.json()["meta"]["results"]
    for result in results:
        if "document" in result:
            TopLevel.model_validate(result["document"])
    return results


def _create(data: Any, key: str | None = None) -> dict[str, Any]:
    return {"op": "create", "idempotency_key": key or str(uuid.uuid4()), "data": data}


def test_results_equal_the_answers_of_single_operations(client: httpx.Client) -> None:
    [made] = _send(client, _create({"n": 1.10}))
    item_id = made["document"]["data"]["id"]
    assert (made["status"], made["location"]) == (201, f"/v2/items/{item_id}")
    replaced, patched, read, stale, missing = _send(
        client,
        {"op": "replace", "id": item_id, "if_match": made["etag"], "data": {"n": 2}},
        {"op": "patch", "id": item_id, "if_match": "*", "patch": {"data": {"m": 3}}},
        {"op": "get", "id": item_id},
        {"op": "replace", "id": item_id, "if_match": made["etag"], "data": {}},
        {"op": "get", "id": MISSING},
    )
    alone = client.get(f"/v2/items/{item_id}").json()
    assert read["document"] == patched["document"] == alone
    assert alone["data"]["attributes"] == {"n": 2, "m": 3}
    assert replaced["document"]["data"]["attributes"] == {"n": 2}
    assert read["etag"] == patched["etag"] != replaced["etag"]
    [error] = missing["document"]["errors"]
    assert (missing["status"], error["status"], error["code"]) == (404, "404", "item-not-found")
    refused = client.put(
        f"/v2/items/{item_id}",
        json={"data": {"type": "items", "attributes": {}}},
        headers={"if-match": made["etag"]},
    ).json()
    assert stale["status"] == 412
    assert stale["document"]["errors"][0]["code"] == refused["errors"][0]["code"]
    assert stale["document"]["errors"][0]["meta"] == refused["errors"][0]["meta"]
    [gone] = _send(client, {"op": "delete", "id": item_id})
    assert gone == {"status": 204}


def test_all_as_one_and_again(client: httpx.Client) -> None:
    operation = _create({"n": 1})
    first, second = (_send(client, operation, atomic=True) for _ in range(2))
    assert second == [first[0] | {"replayed": True}]


@pytest.mark.parametrize("accept", [JSON_API, V2])
@pytest.mark.parametrize("content_type", ["application/json", V2])
def test_version_2_by_accept(client: httpx.Client, accept: str, content_type: str) -> None:
    body = f'{{"operations":[{{"op":"get","id":"{MISSING}"}}]}}'
    headers = {"accept": accept, "content-type": content_type}
    answer = client.post("/v1/items:batch", content=body, headers=headers)
    assert answer.headers["content-type"] == accept
    [result] = answer.json()["meta"]["results"]
    assert result["document"]["errors"][0]["code"] == "item-not-found"


def test_a_malformed_batch_is_a_version_2_error(client: httpx.Client) -> None:
    answer = client.post("/v2/items:batch", json={"operations": [{"op": "get"}]})
    assert (answer.status_code, answer.headers["content-type"]) == (422, JSON_API)
    TopLevel.model_validate(answer.json())
    assert answer.json()["errors"][0]["source"] == {"pointer": "/operations/0/id"}
    v1 = client.post(
        "/v2/items:batch",
        json={"operations": [{"op": "get", "id": MISSING}]},
        headers={"accept": "application/vnd.api.v1+json"},
    )
    assert v1.json()["results"][0]["problem"]["code"] == "item-not-found"
