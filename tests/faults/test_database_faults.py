"""The primary, its replica and workers fail under load; what is cached stays coherent.

Without a near cache, as in ``test_cache_faults``.
"""

import os
import random
import signal
import time
from collections.abc import Callable

import httpx
import pytest

from service.embedded import EmbeddedStack
from tests.fixtures.chaos import worker_pids
from tests.fixtures.running import RunningService
from tests.fixtures.scene import (
    FAULT_S,
    Scene,
    assert_all_read,
    assert_reads_go_on,
    flowing,
    paused_replay,
)
from tests.fixtures.stack import eventually


def _pause_replay(servers: EmbeddedStack) -> None:
    with paused_replay(servers):
        time.sleep(FAULT_S)


def _lag(servers: EmbeddedStack) -> None:
    for _ in range(6):
        with paused_replay(servers):
            time.sleep(FAULT_S / 9)
        time.sleep(FAULT_S / 18)


def _stop_replica(servers: EmbeddedStack) -> None:
    replica = servers.node(0, 1)
    replica.pause()
    try:
        time.sleep(FAULT_S)
    finally:
        replica.resume()


def _kill_replica(servers: EmbeddedStack) -> None:
    replica = servers.node(0, 1)
    replica.kill()
    time.sleep(FAULT_S / 3)
    replica.spawn()
    replica.await_ready()


@pytest.mark.parametrize("fault", [_pause_replay, _lag, _stop_replica, _kill_replica])
def test_the_replica_fails(
    servers: EmbeddedStack, exact: RunningService, fault: Callable[[EmbeddedStack], None]
) -> None:
    """Only the primary gets more load, though Redis loses keys all the time."""
    with flowing(servers, exact) as scene, scene.redis() as client:
        client.flushall()
        fault(servers)
        client.flushall()
        scene.recovers()
        assert_all_read(scene.traffic)


def test_the_primary_dies_and_returns(servers: EmbeddedStack, exact: RunningService) -> None:
    """Reads from the cache and the replica continue."""
    primary = servers.node(0, 0)
    with flowing(servers, exact, deletes=False) as scene:
        with scene.trouble(scene.primary_down):
            primary.kill()
            assert_reads_go_on(scene.traffic, FAULT_S)
            assert httpx.get(f"{exact.url}/readyz").status_code == 200
            primary.spawn()
            primary.await_ready()
        assert_all_read(scene.traffic)


def _die(running: RunningService) -> None:
    os.kill(random.choice(worker_pids(running.process.pid)), signal.SIGKILL)


def _die_between_commit_and_invalidation(scene: Scene) -> None:
    """Redis takes no writes while the worker dies, so that what it committed stays untold."""
    with scene.redis() as client:
        client.client_pause(30_000, all=False)
        eventually(scene.stack.node(0, 0).url, "SELECT count(*) >= 3 FROM cache_outbox", True)
        _die(scene.running)
        time.sleep(0.05)  # for Redis to drop the worker's commands
        client.client_unpause()


def test_writers_die(servers: EmbeddedStack, exact: RunningService) -> None:
    """Another worker relays the invalidations that a dead worker did not send."""
    with flowing(servers, exact) as scene:
        with scene.trouble(scene.redis_down):
            _die_between_commit_and_invalidation(scene)
        time.sleep(5.5)  # Granian ends when two workers die sooner
        _die(exact)
        scene.recovers()
        heard = {status for kind, status in scene.traffic.answers if kind == "read"}
        assert heard <= {0, 200, 404}, (scene.traffic.answers, scene.traffic.refused[:5])
