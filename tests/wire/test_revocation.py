"""Credentials from making to end, by the command line and over the wire, on two workers.

Everything that is taken away is refused by all workers within ``auth.refresh_s`` (a second here).
"""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service

NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
GRANT = {"grant_type": "client_credentials"}
_IN_A_ROW = 12
_POLLS = 300


@pytest.fixture(scope="module")
def issuing(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("revoking"),
        HOTSHELF_AUTH_JWKS="",
        HOTSHELF_AUTH_REFRESH_S="1",
        HOTSHELF_HTTP_WORKERS="2",
    )
    yield running
    assert running.stop() == 0


def _until(status: int, ask: Callable[[], httpx.Response]) -> None:
    """Until every worker answers so: many times in a row, each on a connection of its own."""
    in_a_row = 0
    for _ in range(_POLLS):
        in_a_row = in_a_row + 1 if ask().status_code == status else 0
        if in_a_row == _IN_A_ROW:
            return
        time.sleep(0.02)
    pytest.fail(f"it never was {status} everywhere")


def _get(issuing: RunningService, **headers: str) -> Callable[[], httpx.Response]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx.get(issuing.url + NOBODY, headers=sent, timeout=30)


def _row(issuing: RunningService, group: str, name: str) -> list[str]:
    rows = [line.split("\t") for line in issuing.command(group, "list").splitlines()]
    (row,) = [row for row in rows if name in row]
    return row


def test_an_api_key_from_create_to_revoke(issuing: RunningService) -> None:
    key = issuing.command("keys", "create", "--owner", "key-owner", "--rate", "1000/1")
    ask = _get(issuing, x_api_key=key)
    _until(404, ask)
    key_id, *cells = _row(issuing, "keys", "key-owner")
    assert cells[:3] == ["key-owner", "items:read items:write", "1000/1"]
    issuing.command("keys", "revoke", key_id)
    _until(401, ask)
    assert ask().json()["code"] == "invalid-api-key"


def test_a_client_and_its_tokens_from_create_to_revoke(issuing: RunningService) -> None:
    made = issuing.command("clients", "create", "--name", "leaver")
    client_id, secret = (line.split("=", 1)[1] for line in made.splitlines())

    def grant() -> httpx.Response:
        return httpx.post(issuing.url + "/oauth2/token", data=GRANT, auth=(client_id, secret))

    ask = _get(issuing, authorization=f"Bearer {grant().json()['access_token']}")
    _until(404, ask)
    issuing.command("clients", "revoke", client_id)
    assert (grant().status_code, grant().json()["error"]) == (401, "invalid_client")
    _until(401, ask)
    assert 'error="invalid_token"' in ask().headers["www-authenticate"]
    # Other clients are not affected.
    other = issuing.command("token", "--sub", "stayer")
    _until(404, _get(issuing, authorization=f"Bearer {other}"))


def test_signing_keys_rotate_and_end(issuing: RunningService) -> None:
    before = _get(issuing, authorization=f"Bearer {issuing.command('token', '--sub', 'before')}")
    new = issuing.command("signing-keys", "rotate")

    def published() -> httpx.Response:
        answer = httpx.get(issuing.url + "/.well-known/jwks.json")
        if new not in [key["kid"] for key in answer.json()["keys"]]:
            answer.status_code = 204
        return answer

    _until(200, published)
    _until(404, before)
    newest = issuing.command("signing-keys", "rotate", "--now")
    _until(401, before)
    assert issuing.command("signing-keys", "list").split("\t")[0] == newest
    after = issuing.command("token", "--sub", "after")
    _until(404, _get(issuing, authorization=f"Bearer {after}"))
