"""POST /v1/items:batch: every kind of operation, alone and as one."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.batches import MISSING, URL, create, made_items, results_of, send_batch
from tests.fixtures.running import RunningService, start_service

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("batches") as client:
        yield client


def test_each_kind_of_operation_in_its_place(client: httpx.Client) -> None:
    a, b, c, d = made_items(client, 4)
    results = results_of(
        send_batch(
            client,
            create({"new": True}),
            {"op": "replace", "id": a["item"]["id"], "if_match": a["etag"], "data": {"n": 10}},
            {"op": "patch", "id": b["item"]["id"], "if_match": "*", "patch": {"data": {"m": 1}}},
            {
                "op": "patch",
                "id": c["item"]["id"],
                "if_match": c["etag"],
                "patch": [{"op": "remove", "path": "/data/n"}],
            },
            {"op": "delete", "id": d["item"]["id"]},
            {"op": "get", "id": d["item"]["id"]},
            {"op": "get", "id": a["item"]["id"].lower()},
            {"op": "replace", "id": a["item"]["id"], "if_match": a["etag"], "data": {}},
            {"op": "replace", "id": b["item"]["id"], "data": {}},
            {"op": "delete", "id": MISSING},
        )
    )
    statuses = [result["status"] for result in results]
    assert statuses == [201, 200, 200, 200, 204, 404, 200, 412, 428, 404]
    assert [r["item"]["data"] for r in results[:4]] == [
        {"new": True},
        {"n": 10},
        {"n": 1, "m": 1},
        {},
    ]
    # What comes later in the batch sees what came before it.
    assert results[6]["item"] == results[1]["item"]
    codes = [result["problem"]["code"] for result in results if "problem" in result]
    assert codes == [
        "item-not-found",
        "precondition-failed",
        "precondition-required",
        "item-not-found",
    ]
    for result in results[:4]:
        read = client.get(f"/v1/items/{result['item']['id']}")
        assert (read.json(), read.headers["etag"]) == (result["item"], result["etag"])
    assert results[0]["location"] == f"/v1/items/{results[0]['item']['id']}"


def test_numbers_keep_every_digit(client: httpx.Client) -> None:
    text = '{"n":12345678901234567890.12345000,"e":1e400}'
    operation = f'{{"op":"create","idempotency_key":"{uuid.uuid4()}","data":{text}}}'
    answer = client.post(URL, content=f'{{"operations":[{operation}]}}', headers=JSON)
    alone = client.get(results_of(answer)[0]["location"])
    assert "12345678901234567890.12345000" in alone.text
    assert "12345678901234567890.12345000" in answer.text


@pytest.mark.parametrize("atomic", [False, True])
def test_a_batch_can_be_sent_again(client: httpx.Client, atomic: bool) -> None:
    item = made_items(client, 1)[0]["item"]
    operations = [
        {
            "op": "patch",
            "id": item["id"],
            "if_match": "*",
            "idempotency_key": "again",
            "patch": {"data": {"more": "x"}},
        }
    ]
    first, second = (results_of(send_batch(client, *operations, atomic=atomic)) for _ in range(2))
    other = results_of(send_batch(client, operations[0] | {"patch": {"data": {}}}))
    assert [r.pop("replayed") for r in second] == [True]
    assert second == first
    assert first[0]["item"]["version"] == 2
    assert other[0]["problem"]["code"] == "idempotency-key-reused"


def test_five_hundred_and_no_more(client: httpx.Client) -> None:
    results = made_items(client, 500)
    assert len({result["item"]["id"] for result in results}) == 500
    assert [result["item"]["data"]["n"] for result in results] == list(range(500))
    refused = send_batch(client, *([{"op": "get", "id": MISSING}] * 501))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/operations")


def test_a_batch_may_be_larger_than_a_write_its_items_not(client: httpx.Client) -> None:
    large = send_batch(client, *(create({"text": "x" * 1_000_000}) for _ in range(3)))
    too_large = send_batch(client, create({"text": "x" * 1_100_000}))
    assert [result["status"] for result in results_of(large)] == [201] * 3
    assert (too_large.status_code, too_large.json()["code"]) == (422, "invalid-content")
    assert client.post(URL, content=b" " * ((16 << 20) + 1), headers=JSON).status_code == 413


@pytest.mark.parametrize(
    ("operation", "pointer"),
    [
        (7, "/operations/0/op"),
        ({"op": "destroy"}, "/operations/0/op"),
        ({"op": "get"}, "/operations/0/id"),
        ({"op": "get", "id": "x"}, "/operations/0/id"),
        ({"op": "get", "id": MISSING, "a/b": 1}, "/operations/0/a~1b"),
        ({"op": "create", "data": {}}, "/operations/0/idempotency_key"),
        ({"op": "create", "data": [], "idempotency_key": "k"}, "/operations/0/data"),
        ({"op": "create", "data": {}, "idempotency_key": "ü"}, "/operations/0/idempotency_key"),
        ({"op": "delete", "id": MISSING, "if_match": "7"}, "/operations/0/if_match"),
        ({"op": "patch", "id": MISSING, "patch": 7}, "/operations/0/patch"),
        ({"op": "create", "data": {"a": "\0"}, "idempotency_key": "k"}, "/operations/0/data/a"),
    ],
)
def test_wrong_locations_are_reported(client: httpx.Client, operation: Any, pointer: str) -> None:
    answer = send_batch(client, operation)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-content")
    assert [location["pointer"] for location in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("operation", "pointer"),
    [
        (f'"op":"get","op":"delete","id":"{MISSING}"', "/op"),
        (f'"op":"get","id":"{MISSING}","id":"{MISSING}"', "/id"),
        (f'"op":"delete","id":"{MISSING}","if_match":"*","if_match":"*"', "/if_match"),
        ('"op":"create","idempotency_key":"k","data":{},"data":{}', "/data"),
    ],
)
def test_a_member_that_is_given_twice_is_400(
    client: httpx.Client, operation: str, pointer: str
) -> None:
    answer = client.post(URL, content=f'{{"operations":[{{{operation}}}]}}', headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-syntax")
    assert [location["pointer"] for location in answer.json()["errors"]] == [
        f"/operations/0{pointer}"
    ]


@pytest.mark.parametrize("member", ["op", "id", "if_match", "idempotency_key"])
def test_short_members_are_short(client: httpx.Client, member: str) -> None:
    long = {"op": "delete", "id": MISSING} | {member: '"",' * 1_000_000}
    answer = send_batch(client, long)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-content")
    (location,) = answer.json()["errors"]
    assert location["pointer"] == f"/operations/0/{member}"
    assert "4096 bytes" in location["detail"]


def test_data_is_stored_as_it_was_sent(client: httpx.Client) -> None:
    """As a single write does it: blanks and escapes are jsonb's business, the last name wins."""
    data = rb' {"a" : 1.10, "\u00e9":[ ], "a":2}'
    body = b'{"operations":[{"op":"create","idempotency_key":"%s","data":%s}]}'
    answer = client.post(URL, content=body % (uuid.uuid4().hex.encode(), data), headers=JSON)
    (result,) = results_of(answer)
    assert result["item"]["data"] == {"a": 2, "é": []}


def test_malformed_batches(client: httpx.Client) -> None:
    assert client.post(URL, content="{", headers=JSON).status_code == 400
    assert client.post(URL, content="[]", headers=JSON).status_code == 422
    assert client.post(URL, json={"operations": []}).status_code == 422
    assert send_batch(client, {"op": "get", "id": MISSING}, atomic=1).status_code == 422
    assert client.post(URL, content="{}", headers={"content-type": "text/plain"}).status_code == 415
    document = {"content-type": "application/vnd.api+json"}
    assert client.post(URL, content="{}", headers=document).status_code == 415
    unknown = {"accept": "text/html"}
    assert client.post(URL, json={"operations": []}, headers=unknown).status_code == 406


def test_scopes(service: RunningService) -> None:
    with service.client("reader", "items:read") as reader:
        assert results_of(send_batch(reader, {"op": "get", "id": MISSING}))[0]["status"] == 404
        assert send_batch(reader, {"op": "delete", "id": MISSING}).status_code == 403
    with service.client("batches") as owner, service.client("mallory") as mallory:
        item = made_items(owner, 1)[0]["item"]
        refused = results_of(send_batch(mallory, {"op": "delete", "id": item["id"]}))
    assert refused[0]["problem"]["code"] == "not-owner"


def test_a_batch_of_n_costs_n(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("costly"),
        HOTSHELF_LIMITS_QUOTA="100",
        HOTSHELF_LIMITS_WINDOW_S="6000",
    )
    get = {"op": "get", "id": MISSING}
    try:
        with running.client(uuid.uuid4().hex) as client:
            never = send_batch(client, *[get] * 102)
            answers = [send_batch(client, *[get] * 20) for _ in range(7)]
    finally:
        stopped = running.stop()
    assert stopped == 0
    assert (never.status_code, never.json()["code"]) == (422, "invalid-content")
    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    # A young Redis lends a quarter only; one request each, all would have passed.
    assert 1 <= len(passed) <= 5
    assert len(passed) + len(refused) == 7
    assert {answer.json()["code"] for answer in refused} == {"rate-limited"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert [result["status"] for result in results_of(passed[0])] == [404] * 20
