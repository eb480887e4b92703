"""One limit over several processes that share nothing but Redis."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.access.limiter import BORN_KEY
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.redis_server import RedisServer, in_run, redis_server
from tests.fixtures.running import start_service

CAPACITY, DRAIN_PER_S = 100, 100 / 60


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        with server.client() as client:
            client.set(in_run(client, BORN_KEY), 0)  # old data: nothing was lost
        yield server


def allowed_by(server: RedisServer, workers: int, *load: float) -> list[float]:
    """The moments of everything that passed, over all workers, ascending."""
    command = (sys.executable, "-m", "tests.fixtures.limiter_worker", server.url, str(workers))
    processes = [
        subprocess.Popen(
            [*command, *map(str, load)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(workers)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0
            outputs.append(json.loads(output))
        return sorted(moment for output in outputs for moment in output)
    finally:
        for process in processes:
            process.kill()


def worst_level(moments: list[float]) -> float:
    level = worst = 0.0
    before = moments[0]
    for moment in moments:
        level = max(0.0, level - (moment - before) * DRAIN_PER_S) + 1
        worst, before = max(worst, level), moment
    return worst


def test_four_hundred_at_once_over_two_workers(server: RedisServer) -> None:
    moments = allowed_by(server, 2, 200, 1, 0)
    # What drains while the two bursts are being answered may pass as well.
    assert CAPACITY <= len(moments) <= CAPACITY + (moments[-1] - moments[0]) * DRAIN_PER_S + 1
    assert worst_level(moments) <= CAPACITY + 0.5


def test_a_steady_overload_over_three_workers(server: RedisServer) -> None:
    moments = allowed_by(server, 3, 20, 40, 4)
    # A moment is noted a little after it was granted: allow what drains in 0.3 s.
    assert worst_level(moments) <= CAPACITY + 0.5
    assert len(moments) > CAPACITY


def test_a_separate_redis_keeps_limits_when_the_cache_is_lost(
    stack: EmbeddedStack, server: RedisServer, tmp_path: Path
) -> None:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path,
        HOTSHELF_LIMITS_QUOTA="100",
        HOTSHELF_LIMITS_WINDOW_S="3600",
        HOTSHELF_LIMITS_REDIS_URL=server.url,
    )
    try:
        with running.client() as client, redis.Redis.from_url(stack.redis_url) as cache:
            passed = 0
            for _ in range(6):
                cache.flushdb()
                answers = [client.get("/v1/items/" + "0" * 26).status_code for _ in range(40)]
                passed += answers.count(404)
            assert CAPACITY <= passed <= CAPACITY + 1
            assert not [key for key in cache.scan_iter() if key.startswith(b"limit")]
        with server.client() as limits:
            assert [key for key in limits.scan_iter() if key.startswith(b"limit:")]
    finally:
        assert running.stop() == 0
