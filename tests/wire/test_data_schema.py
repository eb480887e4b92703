"""A JSON Schema for data by setting: every way in which data is written is held to it."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from service.items.data_schema import DataSchema
from service.model.errors import InvalidContent
from tests.fixtures.running import start_service

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "a/b": {"type": "array", "items": {"maximum": 5}},
        "n": {"multipleOf": 3},
    },
}
JSON_API = "application/vnd.api+json"


@pytest.fixture(scope="module")
def client(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("schema")
    (folder / "data.json").write_text(json.dumps(SCHEMA))
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        folder,
        HOTSHELF_DATA_SCHEMA=str(folder / "data.json"),
    )
    with running.client() as client:
        yield client
    assert running.stop() == 0


def _post(client: httpx.Client, data: Any) -> httpx.Response:
    headers = {"idempotency-key": str(uuid.uuid4())}
    return client.post("/v1/items", json={"data": data}, headers=headers)


def _pointers(answer: httpx.Response, code: str) -> list[str]:
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    return [location["pointer"] for location in answer.json()["errors"]]


def test_violations_are_named_by_pointers(client: httpx.Client) -> None:
    assert _post(client, {"name": "pot", "a/b": [1, 5.0], "n": 6}).status_code == 201
    refused = _post(client, {"name": "teapot", "a/b": [1, 9, 7]})
    expected = ["/data/a~1b/1", "/data/a~1b/2", "/data/name"]
    assert sorted(_pointers(refused, "invalid-content")) == expected
    assert "teapot" not in refused.text
    assert _pointers(_post(client, {}), "invalid-content") == ["/data"]


def test_each_kind_of_write_is_checked(client: httpx.Client) -> None:
    url = _post(client, {"name": "pot"}).headers["location"]
    item_id = url.rpartition("/")[2]
    any_tag = {"if-match": "*"}
    put = client.put(url, json={"data": {}}, headers=any_tag)
    assert _pointers(put, "invalid-content") == ["/data"]
    merge = any_tag | {"content-type": "application/merge-patch+json"}
    patch = client.patch(url, content='{"data":{"name":7}}', headers=merge)
    assert _pointers(patch, "patch-result-invalid") == ["/data/name"]
    resource = {"type": "items", "id": item_id, "attributes": {"name": 7}}
    update = client.patch(
        url.replace("/v1", "/v2"),
        content=json.dumps({"data": resource}),
        headers=any_tag | {"content-type": JSON_API},
    )
    [error] = update.json()["errors"]
    assert (update.status_code, error["source"]) == (422, {"pointer": "/data/attributes/name"})
    operations = [
        {"op": "create", "idempotency_key": "k", "data": {"name": "pot"}},
        {"op": "replace", "id": item_id, "if_match": "*", "data": {"n": 1, "name": "x"}},
    ]
    batch = client.post("/v1/items:batch", json={"operations": operations})
    assert _pointers(batch, "invalid-content") == ["/operations/1/data/n"]
    operations[1] = {"op": "patch", "id": item_id, "if_match": "*", "patch": {"data": {"n": 1}}}
    batch = client.post("/v1/items:batch", json={"operations": operations})
    assert [result["status"] for result in batch.json()["results"]] == [201, 422]
    assert client.get(url).json()["data"] == {"name": "pot"}


def test_numbers_are_compared_digit_for_digit(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"properties":{"n":{"multipleOf":3},"x":{"maximum":12345678901234567890.5}}}')
    schema = DataSchema.in_file(str(file))
    schema.check_sent(b'{"n": 123456789012345678901234567890}', "/data")
    for data in (b'{"n": 123456789012345678901234567891}', b'{"x": 1e400}'):
        with pytest.raises(InvalidContent):
            schema.check_sent(data, "/data")


@pytest.mark.parametrize(
    "text",
    ['{"type":"nope"}', "{", '{"$ref":"https://example.com/x.json"}', '{"$ref":"#/$defs/x"}'],
)
def test_an_invalid_schema_is_reported_at_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        DataSchema.in_file(str(file))
