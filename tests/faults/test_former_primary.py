"""A former primary that comes back unchanged and still takes writes, is ignored."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import uvloop

from service.embedded import EmbeddedStack, Stack
from service.model.errors import ShardUnavailable
from service.settings import Database
from service.store.migrate import MigrationError, connect_primary, migrate
from service.store.shards import Shards
from tests.fixtures.chaos import worker_pids
from tests.fixtures.numbers import scrape, total
from tests.fixtures.reading import wait_for_replica
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import eventually as eventually_in
from tests.fixtures.stack import execute
from tests.fixtures.wire import eventually

ITEMS = 10
JSON = {"content-type": "application/json", "if-match": "*"}


@pytest.fixture
def two_shards(stack_dir: Path) -> Iterator[EmbeddedStack]:
    """Each with a replica, running, to be broken."""
    with EmbeddedStack(stack_dir, shards=2, replicas=1, durable=False) as running:
        yield running


def _fail_over(stack: EmbeddedStack) -> None:
    """The first shard's first node dies and its replica is promoted."""
    wait_for_replica(stack)
    stack.node(0, 0).kill()
    stack.node(0, 1).promote()


def _come_back(stack: EmbeddedStack) -> None:
    """Once the new timeline has been seen."""
    other = stack.shards[1][0] if len(stack.shards) > 1 else stack.shards[0][1]
    eventually_in(other, "SELECT timeline FROM shard_timelines WHERE shard = 0", 2)
    stack.node(0, 0).spawn()
    stack.node(0, 0).await_ready()
    assert execute(stack.shards[0][0], "SELECT pg_is_in_recovery()") == [(False,)]


def _create(client: httpx.Client) -> str:
    headers = {"content-type": "application/json", "idempotency-key": uuid4().hex}
    for _ in range(200):
        answer = client.post("/v1/items", content='{"data":{"n":0}}', headers=headers)
        if answer.status_code == 201:
            return str(answer.headers["location"])
    pytest.fail(answer.text)


def _put(client: httpx.Client, url: str, n: int) -> int:
    """The version made; repeated as long as there is no primary."""
    for _ in range(200):
        answer = client.put(url, content=f'{{"data":{{"n":{n}}}}}', headers=JSON)
        if answer.status_code == 200:
            return int(answer.json()["version"])
        assert answer.status_code == 503
    pytest.fail(answer.text)


def _degraded(running: RunningService) -> list[str]:
    found: list[str] = httpx.get(f"{running.url}/readyz").json()["degraded"]
    return found


def test_of_two_primaries_the_higher_timeline_counts(
    two_shards: EmbeddedStack, tmp_path: Path
) -> None:
    stack = Stack(two_shards.shards, two_shards.redis_url)
    running = start_service(stack, tmp_path, HOTSHELF_HTTP_WORKERS="2")
    said = "shard 0: node 0 takes writes on timeline 1 and is ignored"
    try:
        with running.client() as owner:
            urls = [_create(owner) for _ in range(ITEMS)]
            _fail_over(two_shards)
            acknowledged = {url: _put(owner, url, 1) for url in urls}
            _come_back(two_shards)
            eventually(lambda: all(said in _degraded(running) for _ in range(12)))
            assert [owner.get(url).json()["version"] for url in urls] == list(acknowledged.values())
            assert [_put(owner, url, 2) for url in urls] == [v + 1 for v in acknowledged.values()]
            stored = "SELECT count(*) FROM items WHERE data->>'n' <> '0'"
            assert execute(two_shards.shards[0][0], stored) == [(0,)], "written to the former one"
        assert total(scrape(running.url), "hotshelf_primaries_ignored") == 1
        assert '"ignored":"node-0","timeline":1,"highest":2' in running.log.read_text()
    finally:
        assert running.stop() == 0


def _answers(running: RunningService) -> bool:
    try:
        return bool(httpx.get(f"{running.url}/livez").status_code == 200)
    except httpx.TransportError:
        return False


def _settings(stack: EmbeddedStack) -> Database:
    return Database(shards=tuple(map(tuple, stack.shards)), buckets=4)


def test_a_worker_that_starts_then_ignores_it_even_if_it_is_alone(
    two_shards: EmbeddedStack,
) -> None:
    """Another shard's database remembers the promotion; the new primary is away."""
    settings = _settings(two_shards)
    migrate(settings)

    async def sees_the_promotion() -> None:
        shards = Shards(settings)
        await shards.open()
        await asyncio.to_thread(_fail_over, two_shards)
        await asyncio.to_thread(_come_back, two_shards)
        await shards.close()

    async def starts() -> None:
        shards = Shards(settings)
        await shards.open()
        try:
            with pytest.raises(ShardUnavailable):
                async with shards.all[0].primary():
                    pytest.fail("the former primary is used")
            # Seen at the next query of the nodes' roles where one took too long to answer.
            for _ in range(300):
                if shards.all[0].rivals and shards.all[1].primary_known:
                    break
                await asyncio.sleep(0.1)
            assert shards.all[0].rivals == {0: 1}
            assert shards.all[1].primary_known
            assert not shards.all[0].primary_known
        finally:
            await shards.close()

    uvloop.run(sees_the_promotion())
    two_shards.node(0, 1).kill()
    uvloop.run(starts())
    with pytest.raises(MigrationError, match="a former primary on timeline 1, where 2 was seen"):
        connect_primary(0, two_shards.shards[0], settings)


def test_a_worker_that_is_started_again_remembers(
    small_stack: EmbeddedStack, tmp_path: Path
) -> None:
    """With one shard there is no other database; the parent process keeps the number."""
    running = start_service(Stack(small_stack.shards, small_stack.redis_url), tmp_path)
    try:
        with running.client() as owner:
            url = _create(owner)
            _fail_over(small_stack)
            _put(owner, url, 1)
            _come_back(small_stack)
            small_stack.node(0, 1).kill()
            eventually(lambda: "shard 0: no primary" in _degraded(running))
            [worker] = worker_pids(running.process.pid)
            os.kill(worker, signal.SIGKILL)
            eventually(lambda: worker not in worker_pids(running.process.pid))
            eventually(lambda: _answers(running))
            for _ in range(5):
                assert "shard 0: no primary" in _degraded(running)
            assert owner.put(url, content='{"data":{}}', headers=JSON).status_code == 503
    finally:
        running.stop()
