"""A page of another origin sends preflights, and can read every answer of any status."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import execute

NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
SHOP = "https://shop.test"
ASKED = {
    "access-control-request-method": "PUT",
    "access-control-request-headers": (
        "authorization,if-match,if-none-match,x-idempotency-key,content-type"
    ),
}
EXPOSED = {
    *("etag", "location", "link", "retry-after", "ratelimit", "ratelimit-policy"),
    *("idempotency-replayed", "www-authenticate", "server-timing", "cache-status"),
}
QUOTA = 40


@pytest.fixture
def shop(small_stack: EmbeddedStack, tmp_path: Path) -> Iterator[RunningService]:
    """One origin may call; 40 requests at once."""
    running = start_service(
        Stack(small_stack.shards, small_stack.redis_url),
        tmp_path,
        HOTSHELF_CORS_ALLOWED_ORIGINS=f"{SHOP} https://other.test",
        HOTSHELF_LIMITS_QUOTA=str(QUOTA),
        HOTSHELF_LIMITS_FIELDS="always",
    )
    running.age_redis()
    yield running
    assert running.stop() == 0


def _permission(answer: httpx.Response) -> dict[str, str]:
    fields = [(n, v) for n, v in answer.headers.multi_items() if n.startswith("access-control-")]
    assert len(dict(fields)) == len(fields), "a field was sent twice"
    return dict(fields)


def _check_preflights(shop: RunningService) -> None:
    with httpx.Client(base_url=shop.url) as client:
        for _ in range(300):
            preflight = client.options(NOBODY, headers=ASKED | {"origin": SHOP})
            assert preflight.status_code == 204
        given = _permission(preflight)
        assert given["access-control-allow-origin"] == SHOP
        assert {"GET", "PUT", "PATCH", "DELETE"} <= _words(given["access-control-allow-methods"])
        asked = ASKED["access-control-request-headers"]
        assert _words(asked) <= _words(given["access-control-allow-headers"])
        assert "Origin" in _words(preflight.headers["vary"])
        assert "ratelimit" not in preflight.headers
        for origin in ("https://evil.test", "null", f"{SHOP}.evil.test"):
            foreign = client.options(NOBODY, headers=ASKED | {"origin": origin})
            assert not _permission(foreign)
            assert "Origin" in _words(foreign.headers["vary"])
        plain = client.options(NOBODY)
        assert plain.status_code == 204
        assert "PUT" in _words(plain.headers["allow"])
        assert not _permission(plain)


def _words(value: str) -> set[str]:
    return set(value.replace(" ", "").split(","))


def test_a_page_may_ask_first_and_read_every_answer(
    shop: RunningService, small_stack: EmbeddedStack
) -> None:
    _check_preflights(shop)
    answers = {401: httpx.get(shop.url + NOBODY, headers={"origin": SHOP})}
    with shop.client() as client:
        client.headers["origin"] = SHOP
        made = client.post("/v1/items", json={"data": {}}, headers={"idempotency-key": "27"})
        path, etag = made.headers["location"], made.headers["etag"]
        answers |= {
            201: made,
            200: client.get(path),
            304: client.get(path, headers={"if-none-match": etag}),
            404: client.get(NOBODY),
            405: client.request("TRACE", path),
            412: client.put(path, json={"data": {}}, headers={"if-match": '"0-00000000"'}),
            428: client.put(path, json={"data": {}}),
        }
        again = {"idempotency-key": "28"}
        for node in small_stack.shards:
            execute(node[0], "ALTER TABLE items RENAME TO mislaid")
        answers[500] = client.post("/v1/items", json={"data": {}}, headers=again)
        for node in small_stack.shards:
            execute(node[0], "ALTER TABLE mislaid RENAME TO items")
        answers[429] = [client.get(path) for _ in range(QUOTA)][-1]
        foreign = client.get(path, headers={"origin": "https://evil.test"})
    for status, answer in answers.items():
        assert answer.status_code == status
        given = _permission(answer)
        assert given["access-control-allow-origin"] == SHOP
        assert _words(given["access-control-expose-headers"]) >= EXPOSED
        assert "Origin" in _words(answer.headers["vary"])
        assert "access-control-allow-credentials" not in given
        assert "ratelimit" in answer.headers
        assert answer.headers.get_list("vary") == [answer.headers["vary"]]
    assert int(answers[429].headers["retry-after"]) >= 1
    assert foreign.status_code == 429
    assert not _permission(foreign)


def test_without_the_setting_there_is_no_cors(service: RunningService) -> None:
    with service.client() as client:
        for answer in (
            client.options(NOBODY, headers=ASKED | {"origin": SHOP}),
            client.get(NOBODY, headers={"origin": SHOP}),
        ):
            assert not _permission(answer)
            assert "Origin" not in _words(answer.headers.get("vary", ""))
