"""In a collection with ``read: owner``, nothing tells of others' items: no answer, number or log.

Secrets are planted in items of another owner, in data, id, owner, version, tag and time, and all
that can be asked is asked; then everything that came back is searched for any trace of them. What
exists and what does not must be answered alike.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service import native
from tests.fixtures.made_collections import ALL, made, post
from tests.fixtures.running import RunningService

SECRET = f"secret{uuid4().hex}"
OWNER = f"owner{uuid4().hex}"
# Another way through caches and databases each time.
ROUNDS = 3
# So long that it is part of no other number.
RANK = 7_770_001_357_902_468
PLACEHOLDER = "0" * 26
V1, V2 = "application/json", "application/vnd.api+json"
MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"


@dataclass
class Planted:
    """Somebody's items in a collection of which nothing may be known."""

    name: str
    ids: list[str]
    traces: list[str]


@pytest.fixture(scope="module")
def planted(service: RunningService) -> Planted:
    name = made(service, read="owner", attributes=["rank"])
    ids, traces = [], [SECRET, OWNER]
    with service.client(OWNER, ALL) as owner:
        for n in range(4):
            created = post(owner, name, {"word": SECRET, "rank": RANK + n, "kind": "odd"})
            path = f"/v1/{name}/{created.json()['id']}"
            for _ in range(3):
                body = {"data": {"word": SECRET, "rank": RANK + n, "kind": "odd", "n": n}}
                changed = owner.put(path, json=body, headers={"if-match": "*"})
                assert changed.status_code == 200
            item = changed.json()
            ids.append(item["id"])
            traces += [item["created_at"], item["updated_at"], str(RANK + n)]
            traces.append(changed.headers["etag"].strip('"').partition("-")[2])
            # In the caches of both workers, and in Redis.
            for _ in range(4):
                with service.client(OWNER, ALL) as again:
                    assert again.get(path).status_code == 200
        gone = post(owner, name, {"word": SECRET})
        assert owner.delete(gone.headers["location"]).status_code == 204
        ids.append(gone.json()["id"])
    return Planted(name, ids, traces)


def _requests(name: str, item_id: str, tag: str) -> Iterator[httpx.Request]:
    """All that can be asked about an id, of which none creates anything."""
    matching = [{}, {"if-match": "*"}, {"if-match": tag}, {"if-none-match": tag}]
    matching += [{"if-none-match": "*"}]
    for prefix in ("", "/v1", "/v2"):
        url = f"http://test{prefix}/{name}/{item_id}"
        for accept in (V1, V2):
            for conditions in matching:
                headers = {"accept": accept, **conditions}
                for method in ("GET", "HEAD", "DELETE"):
                    yield httpx.Request(method, url, headers=headers)
                yield httpx.Request("GET", f"{url}?fields=word", headers=headers)
                merge, patch = b'{"data":{"x":1}}', b'[{"op":"test","path":"/data","value":1}]'
                for kind, body in ((MERGE, merge), (PATCH, patch)):
                    typed = headers | {"content-type": kind}
                    yield httpx.Request("PATCH", url, headers=typed, content=body)
                    keyed = typed | {"idempotency-key": uuid4().hex}
                    yield httpx.Request("PATCH", url, headers=keyed, content=body)
        put = {"content-type": V1, "if-match": tag}
        yield httpx.Request("PUT", url, headers=put, content=b'{"data":{}}')


def _batches(item_id: str, tag: str) -> Iterator[dict[str, Any]]:
    operations: list[dict[str, Any]] = [
        {"op": "get", "id": item_id},
        {"op": "patch", "id": item_id, "patch": {"data": {"x": 1}}, "if_match": tag},
        {"op": "patch", "id": item_id, "patch": [{"op": "remove", "path": "/data/word"}]},
        {"op": "delete", "id": item_id},
        {"op": "delete", "id": item_id, "if_match": tag},
        {"op": "replace", "id": item_id, "data": {}, "if_match": tag},
    ]
    operations[2]["if_match"] = "*"
    yield {"operations": operations}
    yield from ({"operations": [one], "atomic": True} for one in operations[1:])


_LISTS = [
    "",
    "?limit=1&sort=-created_at",
    "?sort=rank",
    "?sort=-rank&limit=2",
    f"?filter[word]={SECRET}",
    f"?filter[owner_id]={OWNER}",
    "?filter[owner_id][prefix]=owner",
    "?filter[rank][gt]=777000",
    "?filter[kind]=odd&filter[word][contains]=secret",
    "?filter[created_at][gt]=2020-01-01T00:00:00Z",
]


def _shown(answer: httpx.Response, item_id: str) -> str:
    """All of an answer but what is of this request alone."""
    fields = [
        f"{name}: {value}"
        for name, value in answer.headers.items()
        if name
        not in (
            "x-request-id",
            "date",
            "ratelimit",
            "ratelimit-policy",
            "content-length",
            "connection",
        )
    ]
    text = f"{answer.status_code} {fields} {answer.text}".replace(item_id, PLACEHOLDER)
    return re.sub(r'"request_id": ?"[^"]*"', "", text)


@pytest.mark.parametrize("subject", ["mallory", ""])
def test_what_is_not_mine_is_answered_like_what_is_not_there(
    service: RunningService, planted: Planted, subject: str
) -> None:
    seen: list[str] = []
    for item_id in planted.ids:
        nothing = native.format_id(native.mint_in_bucket(1_700_000_000_000, 0, 1))
        tag = '"4-00000000"'
        pairs = zip(
            _requests(planted.name, item_id, tag),
            _requests(planted.name, nothing, tag),
            strict=True,
        )
        with service.client(subject or "eve", ALL) as client:
            if not subject:
                del client.headers["authorization"]
            for theirs, missing in pairs:
                answers = [_sent(client, one) for one in (theirs, missing)]
                found, absent = (
                    _shown(answer, i) for answer, i in zip(answers, (item_id, nothing), strict=True)
                )
                assert found == absent, (theirs.method, theirs.url, theirs.headers)
                seen.append(found)
    _search(planted, seen)


def _sent(client: httpx.Client, asked: httpx.Request) -> httpx.Response:
    headers = {**asked.headers}
    headers.pop("host")
    url = str(asked.url).removeprefix("http://test")
    return client.request(asked.method, url, headers=headers, content=asked.read())


def test_batches_and_lists_hold_nothing_of_others(
    service: RunningService, planted: Planted
) -> None:
    seen: list[str] = []
    for _ in range(ROUNDS):
        with service.client("mallory", ALL) as client:
            for item_id in planted.ids:
                for body in _batches(item_id, '"4-00000000"'):
                    for version in ("/v1", "/v2", ""):
                        answer = client.post(f"{version}/{planted.name}:batch", json=body)
                        assert answer.status_code in (200, 409), answer.text
                        seen.append(_shown(answer, item_id))
            for query in _LISTS:
                for count in ("exact", "estimated"):
                    headers = {"prefer": f"count={count}"}
                    answer = client.get(f"/v1/{planted.name}{query}", headers=headers)
                    if answer.status_code == 400:
                        assert answer.json()["code"] == "not-yet-indexed"
                        continue
                    assert (answer.json()["items"], answer.json().get("total")) == ([], 0)
                    seen.append(_shown(answer, PLACEHOLDER).replace(query, ""))
            body = {"filter": {"kind": "odd"}, "sort": "-id"}
            searched = client.post(f"/v2/{planted.name}/search", json=body)
            assert searched.json()["data"] == []
            seen.append(_shown(searched, PLACEHOLDER))
    _search(planted, seen)


def test_an_id_that_is_taken_can_be_had_by_nobody_else(
    service: RunningService, planted: Planted
) -> None:
    with service.client("mallory", ALL) as client:
        for item_id in planted.ids:
            path = f"/v1/{planted.name}/{item_id}"
            answer = client.put(path, json={"data": {}}, headers={"if-none-match": "*"})
            assert (answer.status_code, answer.json()["code"]) == (404, "item-not-found")
            _search(planted, [_shown(answer, item_id)])


def test_owners_and_operators_see_what_is_theirs(service: RunningService, planted: Planted) -> None:
    living = planted.ids[:4]
    for subject, scope in ((OWNER, ALL), ("olga", "items:admin")):
        with service.client(subject, scope) as client:
            for item_id in living:
                assert client.get(f"/v1/{planted.name}/{item_id}").status_code == 200
            listed = client.get(f"/v1/{planted.name}", headers={"prefer": "count=exact"}).json()
            assert [item["id"] for item in listed["items"]] == living
            assert listed["total"] == 4


def test_neither_numbers_nor_log_tell_anything(service: RunningService, planted: Planted) -> None:
    numbers = [httpx.get(f"{service.url}{path}").text for path in ("/metrics", "/status/data")]
    _search(planted, [*numbers, service.log.read_text()], *planted.ids)


def _search(planted: Planted, texts: list[str], *more: str) -> None:
    """Raises AssertionError for a text with a trace of what was planted."""
    everything = json.dumps(texts)
    assert [trace for trace in (*planted.traces, *more) if trace in everything] == []
