"""The grammar of a batch's operations, and bounds of their cost."""

from tests.fixtures.running import RunningService

URL = "/v1/items:batch"
MISSING = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
JSON = {"content-type": "application/json"}


def test_a_caller_that_may_only_read_sends_at_most_a_mebibyte(service: RunningService) -> None:
    body = b'{"operations":[{"op":"get","id":"%s"}]}' % MISSING.encode()
    with service.client("reader of batches", "items:read") as reader:
        fits = reader.post(URL, content=body.ljust(1 << 20), headers=JSON)
        assert fits.status_code == 200, fits.text
        refused = reader.post(URL, content=body.ljust((1 << 20) + 1), headers=JSON)
    assert (refused.status_code, refused.json()["max_bytes"]) == (413, 1 << 20)
