"""Version 2 against JSON:API 1.1, checked with a client and models that others wrote."""

import json
import uuid
from typing import Any

import httpx
import pytest
import requests
from jsonapi_client import Modifier, Session  # type: ignore[import-untyped]
from jsonapi_pydantic.v1_0 import TopLevel  # type: ignore[import-untyped]

from tests.fixtures.running import RunningService

JSON_API = "application/vnd.api+json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def _document(attributes: Any, **members: Any) -> str:
    return json.dumps({"data": {"type": "items", "attributes": attributes} | members})


def _headers(**more: str) -> dict[str, str]:
    return {"content-type": JSON_API, "idempotency-key": str(uuid.uuid4())} | {
        name.replace("_", "-"): value for name, value in more.items()
    }


def _post(client: httpx.Client, attributes: Any) -> httpx.Response:
    return client.post("/v2/items", content=_document(attributes), headers=_headers())


def test_a_client_creates_reads_changes_and_deletes(service: RunningService) -> None:
    """jsonapi-client speaks the standard's own media type, and PATCHes what changed."""
    headers = {
        "authorization": f"Bearer {service.token()}",
        "accept": JSON_API,
        "idempotency-key": str(uuid.uuid4()),
        # It knows nothing of entity tags.
        "if-match": "*",
    }
    kind = service.collection
    schema = {kind: {"properties": {"name": {"type": "string"}, "size": {"type": "number"}}}}
    options = {"headers": headers}
    with Session(f"{service.url}/v2", schema=schema, request_kwargs=options) as session:
        created = session.create_and_commit(kind, name="shelf", size=1)
        assert created.id
        item_id = created.id
    with Session(f"{service.url}/v2", schema=schema, request_kwargs=options) as session:
        item = session.get(kind, item_id).resource
        assert (item.name, item.size, item.meta.version) == ("shelf", 1, 1)
        del headers["idempotency-key"]
        item.size = 2
        item.commit()
        assert item.meta.version == 2
    url = f"{service.url}/v2/{kind}/{item_id}"
    read = requests.get(url, headers=headers, timeout=10)
    assert read.json()["data"]["attributes"] == {"name": "shelf", "size": 2}


def test_documents_are_valid(service: RunningService) -> None:
    with service.client() as client:
        created = _post(client, {"name": "a", "nested": {"x": [1, None]}})
        read = client.get(created.headers["location"])
        missing = client.get("/v2/items/01ARZ3NDEKTSV4RRFFQ69G5FAV")
    for answer in (created, read, missing):
        assert answer.headers["content-type"] == JSON_API
        TopLevel.model_validate(answer.json())
    assert (created.status_code, created.content) == (201, read.content)
    data = read.json()["data"]
    assert data["attributes"] == {"name": "a", "nested": {"x": [1, None]}}
    assert data["links"]["self"] == created.headers["location"] == f"/v2/items/{data['id']}"
    assert sorted(data["meta"]) == ["created_at", "owner_id", "updated_at", "version"]


def test_a_document_can_be_sent_back_as_read(service: RunningService) -> None:
    with service.client() as client:
        created = _post(client, {"a": 1})
        url, document = created.headers["location"], created.json()
        document["data"]["attributes"]["b"] = 2
        headers = _headers(if_match=created.headers["etag"])
        replaced = client.put(url, content=json.dumps(document), headers=headers)
        again = client.put(url, content=json.dumps(document), headers=headers)
    assert replaced.status_code == 200
    assert replaced.json()["data"]["attributes"] == {"a": 1, "b": 2}
    assert replaced.json()["data"]["meta"]["version"] == 2
    assert (again.content, again.headers["idempotency-replayed"]) == (replaced.content, "true")


def test_a_local_id_is_accepted_and_forgotten(service: RunningService) -> None:
    """JSON:API 1.1, "Resource Objects": a client may name what has no id yet."""
    with service.client() as client:
        created = client.post("/v2/items", content=_document({}, lid="a"), headers=_headers())
        wrong = client.post("/v2/items", content=_document({}, lid=1), headers=_headers())
        url, tag = created.headers["location"], created.headers["etag"]
        body = _document({"n": 1}, lid="b", id=created.json()["data"]["id"])
        replaced = client.put(url, content=body, headers=_headers(if_match=tag))
    assert (created.status_code, replaced.status_code, wrong.status_code) == (201, 200, 422)
    assert "lid" not in created.json()["data"]
    assert wrong.json()["errors"][0]["source"] == {"pointer": "/data/lid"}


def test_put_creates_under_a_chosen_id(service: RunningService) -> None:
    item_id = f"7{uuid.uuid4().hex[:25].upper().replace('I', '0')}"
    with service.client() as client:
        url = f"/v2/items/{item_id}"
        body = _document({}, id=item_id.lower())
        created = client.put(url, content=body, headers=_headers(if_none_match="*"))
    assert (created.status_code, created.headers["location"]) == (201, url)


def test_an_update_keeps_omitted_attributes(service: RunningService) -> None:
    with service.client() as client:
        created = _post(client, {"keep": 1.50, "null": 1, "object": {"a": 1}})
        url, item_id = created.headers["location"], created.json()["data"]["id"]
        change = _document({"null": None, "object": {"b": 2}}, id=item_id)
        headers = _headers(if_match=created.headers["etag"])
        changed = client.patch(url, content=change, headers=headers)
    assert changed.status_code == 200
    # A null is a value here, and an attribute is replaced as a whole.
    attributes = {"keep": 1.5, "null": None, "object": {"b": 2}}
    assert changed.json()["data"]["attributes"] == attributes


@pytest.mark.parametrize(
    ("media_type", "patch"),
    [
        (MERGE_PATCH, {"data": {"attributes": {"a": None, "b": 2}}}),
        (
            JSON_PATCH,
            [
                {"op": "test", "path": "/data/meta/version", "value": 1},
                {"op": "remove", "path": "/data/attributes/a"},
                {"op": "add", "path": "/data/attributes/b", "value": 2},
            ],
        ),
    ],
)
def test_patches_are_of_the_document(
    service: RunningService, media_type: str, patch: object
) -> None:
    with service.client() as client:
        created = _post(client, {"a": 1})
        headers = {"content-type": media_type, "if-match": created.headers["etag"]}
        changed = client.patch(
            created.headers["location"], content=json.dumps(patch), headers=headers
        )
    assert changed.status_code == 200, changed.text
    assert changed.json()["data"]["attributes"] == {"b": 2}


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"data": {"meta": {"version": 9}}}, "/data/meta"),
        ({"data": {"id": "x"}}, "/data/id"),
        ({"data": {"relationships": {}}}, "/data/relationships"),
        ({"data": None}, "/data"),
        ({"jsonapi": None}, "/jsonapi"),
        ({"odd": 1}, "/odd"),
        ({"data": {"attributes": None}}, "/data/attributes"),
        ({"data": {"attributes": [1]}}, "/data/attributes"),
    ],
)
def test_a_patch_changes_the_attributes_only(
    service: RunningService, patch: object, pointer: str
) -> None:
    with service.client() as client:
        created = _post(client, {"a": 1})
        headers = {"content-type": MERGE_PATCH, "if-match": created.headers["etag"]}
        refused = client.patch(
            created.headers["location"], content=json.dumps(patch), headers=headers
        )
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["code"]) == (422, "patch-result-invalid")
    assert error["source"] == {"pointer": pointer}


def test_fields_are_called_as_the_standard_does(service: RunningService) -> None:
    with service.client() as client:
        url = _post(client, {"a": 1, "b": 2}).headers["location"]
        some = client.get(url, params={"fields[items]": "b"})
        other = client.get(url, params={"fields": "b"})
        whole = client.get(url)
    assert some.json()["data"]["attributes"] == {"b": 2}
    assert some.headers["etag"] != whole.headers["etag"]
    assert (other.status_code, other.json()["errors"][0]["code"]) == (400, "invalid-parameter")


def test_a_client_walks_a_list(service: RunningService) -> None:
    shelf = uuid.uuid4().hex
    with service.client() as client:
        ids = [_post(client, {"shelf": shelf, "n": n}).json()["data"]["id"] for n in range(5)]
        first = client.get("/v2/items", params={"page[size]": 2, "filter[shelf]": shelf})
    document = first.json()
    # JSON:API 1.1 allows URI references, the models of 1.0 do not know them yet.
    assert document["links"]["next"].startswith("/v2/items?")
    document["links"]["next"] = service.url + document["links"]["next"]
    TopLevel.model_validate(document)
    assert first.json()["links"]["prev"] is None
    assert first.json()["data"][0]["meta"]["etag"].startswith('"1-')
    options = {"headers": {"authorization": f"Bearer {service.token()}", "accept": JSON_API}}
    with Session(f"{service.url}/v2", request_kwargs=options) as session:
        walked = session.iterate(
            service.collection, Modifier(f"page[size]=2&filter[shelf]={shelf}")
        )
        assert sorted(item.id for item in walked) == sorted(ids)


def test_pages_lead_both_ways(service: RunningService) -> None:
    shelf = uuid.uuid4().hex
    query = {"page[size]": "1", "filter[shelf]": shelf, "fields[items]": "n"}
    headers = {"prefer": "count=exact"}
    with service.client() as client:
        for n in range(2):
            _post(client, {"shelf": shelf, "n": n})
        first = client.get("/v2/items", params=query, headers=headers)
        second = client.get(first.json()["links"]["next"])
        back = client.get(second.json()["links"]["prev"])
        cursor = first.json()["meta"]["page"]["next_cursor"]
        turned = client.get("/v2/items", params=query | {"page[before]": cursor})
        odd = client.get("/v2/items", params={"limit": "1"})
    assert first.json()["meta"]["page"]["total"] == 2
    assert [a.json()["data"][0]["attributes"] for a in (first, second)] == [{"n": 0}, {"n": 1}]
    assert second.json()["links"]["next"] is None
    assert back.json()["data"] == first.json()["data"]
    assert turned.json()["data"] == [], "the cursor is on the first item"
    assert (odd.status_code, odd.json()["errors"][0]["code"]) == (400, "invalid-parameter")


def test_a_search_in_either_version(service: RunningService) -> None:
    shelf = uuid.uuid4().hex
    body = json.dumps({"filter": {"shelf": shelf}})
    headers = {"content-type": "application/json"}
    with service.client() as client:
        item_id = _post(client, {"shelf": shelf}).json()["data"]["id"]
        found = client.post("/v2/items/search", content=body, headers=headers)
    TopLevel.model_validate(found.json())
    assert [item["id"] for item in found.json()["data"]] == [item_id]
    assert found.json()["meta"]["page"] == {"next_cursor": None, "prev_cursor": None}


ITEM = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("POST", "[]", 422, "invalid-content"),
        ("POST", "{}", 422, "invalid-content"),
        ("POST", '{"data":[]}', 422, "invalid-content"),
        ("POST", '{"data":{}}', 422, "invalid-content"),
        ("POST", '{"data":{"type":"items"}}', 422, "invalid-content"),
        ("POST", '{"data":{"type":"items","attributes":[]}}', 422, "invalid-content"),
        ("POST", '{"data":{"type":"items","attributes":{},"x":1}}', 422, "invalid-content"),
        ("POST", '{"data":{"type":"items","type":"items","attributes":{}}}', 400, "invalid-syntax"),
        ("POST", _document({}, relationships={"a": {}}), 422, "invalid-content"),
        ("POST", '{"data":{"type":1e999,"attributes":{}}}', 409, "resource-mismatch"),
        ("POST", '{"data":{"type":"shelves","attributes":{}}}', 409, "resource-mismatch"),
        ("POST", _document({}, id=ITEM), 403, "client-id-forbidden"),
        ("PUT", _document({}, id="01ARZ3NDEKTSV4RRFFQ69G5FAW"), 409, "resource-mismatch"),
        ("PATCH", _document({}), 422, "invalid-content"),
        ("PATCH", _document({}, id="x"), 409, "resource-mismatch"),
        ("PATCH", _document({}, id=7), 409, "resource-mismatch"),
    ],
)
def test_documents_that_are_refused(
    service: RunningService, method: str, body: str, status: int, code: str
) -> None:
    url = "/v2/items" if method == "POST" else f"/v2/items/{ITEM}"
    with service.client() as client:
        refused = client.request(method, url, content=body, headers=_headers(if_match="*"))
    assert refused.status_code == status, refused.text
    assert {error["code"] for error in refused.json()["errors"]} == {code}
    TopLevel.model_validate(refused.json())


def test_the_standard_s_media_type_takes_no_other_parameters(service: RunningService) -> None:
    with service.client() as client:
        for parameter in ("charset=utf-8", 'ext="https://jsonapi.org/ext/atomic"'):
            media_type = f"{JSON_API}; {parameter}"
            headers = _headers() | {"content-type": media_type}
            written = client.post("/v2/items", content=_document({}), headers=headers)
            read = client.get("/v2/items/" + ITEM, headers={"accept": media_type})
            assert (written.status_code, read.status_code) == (415, 406)
        profile = f'{JSON_API}; profile="https://example.com/unknown"'
        headers = _headers(accept=profile) | {"content-type": profile}
        assert client.post("/v2/items", content=_document({}), headers=headers).status_code == 201
