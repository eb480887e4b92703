"""Over the wire: how a credential may be written, and that a bad one is never anonymous."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures.running import RunningService

NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
INVALID = 'Bearer realm="hotshelf", error="invalid_token"'
ABSENT = 'Bearer realm="hotshelf"'


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx.Client]:
    """Sends no credentials of its own."""
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("written", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer  {}"])
def test_good_credentials(client: httpx.Client, service: RunningService, written: str) -> None:
    for _ in range(2):  # the second time from memory
        sent = {"authorization": written.format(service.token())}
        assert client.get(NOBODY, headers=sent).status_code == 404


@pytest.mark.parametrize(
    ("lines", "status", "challenge"),
    [
        ([], 401, ABSENT),
        ([b"Basic YTpi"], 401, ABSENT),
        ([b"{}"], 401, ABSENT),
        ([b"Bearer"], 401, INVALID),
        ([b"Bearer\t{}"], 401, INVALID),
        ([b"Bearer {}x"], 401, INVALID),
        ([b"Bearer {} {}"], 401, INVALID),
        ([b"Bearer " + b"a" * 16_000], 401, INVALID),
        ([b"Bearer " + b"a" * 20_000], 431, None),
        ([b"Bearer " + b"a" * 60_000], 431, None),
        # Over 64 KiB Granian refuses as its buffer falls: at twice that for certain.
        ([b"Bearer " + b"a" * 200_000], 431, None),
        ([b"Bearer {}, Bearer {}"], 400, None),
        ([b"Bearer {}", b"Bearer {}"], 400, None),
        ([b"Bearer {}", b"Basic YTpi"], 400, None),
        ([b"Bearer {}\xff"], 400, None),
        ([b"Bearer \xc3\xa4"], 400, None),
    ],
)
def test_bad_credentials(
    client: httpx.Client,
    service: RunningService,
    lines: list[bytes],
    status: int,
    challenge: str | None,
) -> None:
    token = service.token().encode()
    sent = [(b"authorization", line.replace(b"{}", token)) for line in lines]
    for method, path in (("GET", NOBODY), ("HEAD", NOBODY), ("DELETE", NOBODY), ("GET", "/v1/no")):
        answer = client.request(method, path, headers=sent)
        assert answer.status_code == status
        assert answer.headers.get("www-authenticate") == challenge


@pytest.mark.parametrize("parameter", ["access_token", "api_key", "x-api-key"])
def test_credentials_count_in_headers_only(
    client: httpx.Client, service: RunningService, parameter: str
) -> None:
    answer = client.get(NOBODY, params={parameter: service.token()})
    assert answer.status_code == 401
