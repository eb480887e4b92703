"""POST /v1/items:batch with ``atomic``: all operations or none."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fixtures.batches import MISSING, create, made_items, replace, results_of, send_batch
from tests.fixtures.running import RunningService


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("atomic batches") as client:
        yield client


def _together(client: httpx.Client, count: int) -> tuple[list[str], list[str]]:
    """Ids on one shard, and those that are not there."""
    ids = [made["item"]["id"] for made in made_items(client, count)]
    answer = send_batch(client, *(replace(item_id, {}) for item_id in ids), atomic=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "several-shards")
    elsewhere = {int(location["pointer"].split("/")[2]) for location in answer.json()["errors"]}
    here = [item_id for index, item_id in enumerate(ids) if index not in elsewhere]
    return here, [ids[index] for index in sorted(elsewhere)]


def _version(client: httpx.Client, item_id: str) -> int:
    return int(client.get(f"/v1/items/{item_id}").json()["version"])


def test_all_or_nothing(client: httpx.Client) -> None:
    here, elsewhere = _together(client, 16)
    assert here
    assert elsewhere
    assert {_version(client, item_id) for item_id in here + elsewhere} == {1}
    stale = replace(here[1], {"a": 1}, if_match='"9-00000000"')
    failed = send_batch(client, replace(here[0], {"a": 1}), stale, atomic=True)
    assert (failed.status_code, failed.json()["code"]) == (409, "batch-failed")
    [location] = failed.json()["errors"]
    assert location["pointer"] == "/operations/1"
    assert location["detail"].startswith("failed with precondition-failed: ")
    assert {_version(client, item_id) for item_id in here} == {1}
    done = results_of(
        send_batch(
            client,
            replace(here[0], {"a": 1}),
            {"op": "patch", "id": here[1], "if_match": "*", "patch": {"data": {"b": 2}}},
            {"op": "delete", "id": here[2]},
            atomic=True,
        )
    )
    assert [result["status"] for result in done] == [200, 200, 204]
    assert client.get(f"/v1/items/{here[0]}").json()["data"] == {"a": 1}
    assert client.get(f"/v1/items/{here[2]}").status_code == 404


def test_a_failed_batch_leaves_its_keys_free(client: httpx.Client) -> None:
    here, _ = _together(client, 16)
    keyed = replace(here[0], {"a": 1}, idempotency_key="free")
    stale = replace(here[1], {}, if_match='"9-00000000"')
    assert send_batch(client, keyed, stale, atomic=True).status_code == 409
    again = results_of(send_batch(client, keyed | {"data": {"a": 2}}, atomic=True))
    assert again[0]["item"]["data"] == {"a": 2}
    assert "replayed" not in again[0]


@pytest.mark.parametrize(
    ("operations", "pointer"),
    [
        ([{"op": "get", "id": MISSING}], "/operations/0/op"),
        ([replace(MISSING, {}), {"op": "delete", "id": MISSING}], "/operations/1/id"),
        ([create({}, "same"), create({}, "same")], "/operations/1/idempotency_key"),
    ],
)
def test_operations_that_an_atomic_batch_refuses(
    client: httpx.Client, operations: list[dict[str, Any]], pointer: str
) -> None:
    answer = send_batch(client, *operations, atomic=True)
    assert answer.status_code == 422
    assert [location["pointer"] for location in answer.json()["errors"]] == [pointer]
