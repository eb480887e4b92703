"""Results of batches, compressed according to Accept-Encoding."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures.decompression import DECOMPRESS
from tests.fixtures.running import RunningService

URL = "/v1/items:batch"


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("packers") as client:
        yield client


def _creations(count: int) -> dict[str, object]:
    ops = [{"op": "create", "idempotency_key": str(uuid.uuid4()), "data": {}} for _ in range(count)]
    return {"operations": ops}


@pytest.mark.parametrize("coding", DECOMPRESS)
def test_results_travel_compressed(client: httpx.Client, coding: str) -> None:
    made = client.post(URL, json=_creations(20)).json()["results"]
    asked = {"operations": [{"op": "get", "id": one["item"]["id"]} for one in made]}
    plain = client.post(URL, json=asked, headers={"accept-encoding": "identity"})
    with client.stream("POST", URL, json=asked, headers={"accept-encoding": coding}) as compressed:
        raw = b"".join(compressed.iter_raw())
    assert compressed.headers["content-encoding"] == coding
    assert len(raw) < len(plain.content)
    assert DECOMPRESS[coding](raw) == plain.content


def test_no_coding_at_all_is_refused_before_anything_is_done(client: httpx.Client) -> None:
    asked = _creations(1)
    refused = client.post(URL, json=asked, headers={"accept-encoding": "*;q=0"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not-acceptable")
    [result] = client.post(URL, json=asked).json()["results"]
    assert (result["status"], result.get("replayed")) == (201, None)
