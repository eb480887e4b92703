"""One limit over several processes that share nothing but Redis."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.access.limiter import BORN_KEY
from tests.fixtures.redis_server import RedisServer, in_run, redis_server

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
