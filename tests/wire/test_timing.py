"""Server-Timing and Cache-Status, sent only on request."""

import re
from pathlib import Path

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service

ASKS = {"prefer": "timing"}
_PARTS = re.compile(r"(\w+);dur=(\d+\.\d{3})")


def _created(running: RunningService, key: str) -> str:
    with running.client("olga") as owner:
        made = owner.post("/v1/items", json={"data": {}}, headers={"idempotency-key": key})
        return f"/v1/items/{made.json()['id']}"


def test_a_read_has_its_source_and_times(service: RunningService) -> None:
    path = _created(service, "timing-1")
    with service.client("reader") as reader:
        answers = [reader.get(path, headers=ASKS) for _ in range(6)]
        told = [answer.headers["cache-status"] for answer in answers]
        unknown = reader.get("/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV", headers=ASKS)
    assert told[0].startswith("hotshelf; fwd=miss; detail=")
    assert told[-1] in ("hotshelf; hit; detail=near", "hotshelf; hit; detail=redis")
    for answer in answers:
        parts = {name: float(ms) for name, ms in _PARTS.findall(answer.headers["server-timing"])}
        assert set(parts) == {"auth", "limit", "read", "total"}
        assert parts["total"] >= max(parts["auth"], parts["limit"], parts["read"])
    assert "server-timing" in unknown.headers
    assert "cache-status" not in unknown.headers


def test_the_owner_is_never_answered_from_a_near_cache(service: RunningService) -> None:
    path = _created(service, "timing-2")
    with service.client("olga") as owner:
        told = {owner.get(path, headers=ASKS).headers["cache-status"] for _ in range(6)}
    assert "hotshelf; hit; detail=near" not in told


def test_others_get_no_timing(service: RunningService) -> None:
    path = _created(service, "timing-3")
    with service.client("reader") as reader:
        for prefer in ({}, {"prefer": "return=minimal"}):
            answer = reader.get(path, headers=prefer)
            assert not {"server-timing", "cache-status"} & set(answer.headers)


def test_a_setting_sends_timing_to_all(stack: EmbeddedStack, tmp_path: Path) -> None:
    running = start_service(
        Stack(stack.shards, stack.redis_url), tmp_path, HOTSHELF_HTTP_TIMING="always"
    )
    path = _created(running, "timing-4")
    with running.client("reader") as reader:
        answers = [reader.get(path) for _ in range(4)]
    assert answers[-1].headers["cache-status"] == "hotshelf; hit; detail=near"
    assert all("server-timing" in answer.headers for answer in answers)
    assert running.stop() == 0
