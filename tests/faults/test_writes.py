"""Blind retries through a broken network while workers die: one item a create, none lost.

`make test` does 10,000 creates; `make soak-writes` runs for hours (HOTSHELF_TEST_CREATES).
HOTSHELF_TEST_SEED repeats a run's random choices.
"""

import asyncio
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.chaos import Heard, Killer, Network
from tests.fixtures.databases import empty_databases
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import execute

CREATES = int(os.environ.get("HOTSHELF_TEST_CREATES", "10000"))
SEED = int(os.environ.get("HOTSHELF_TEST_SEED", str(random.randrange(10**9))))
CLIENTS = 48
# Each tenth create is changed once under a key of its own.
CHANGED = 10


@dataclass
class History:
    """The answers to each create and to each change."""

    created: dict[int, Heard] = field(default_factory=dict)
    changed: dict[int, Heard] = field(default_factory=dict)
    replays: int = 0


@pytest.fixture
def lone_service(
    stack: EmbeddedStack, tmp_path: Path
) -> Iterator[tuple[RunningService, list[str]]]:
    """A service with two workers on two empty shards, and the URLs of these."""
    with empty_databases(stack, shards=2) as shards:
        urls = [primary for primary, *_ in shards]
        running = start_service(
            Stack([[url] for url in urls], stack.redis_url), tmp_path, HOTSHELF_HTTP_WORKERS="2"
        )
        yield running, urls
        assert running.stop() == 0


def _request(running: RunningService, method: str, path: str, *fields: str, body: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: test",
        f"Authorization: Bearer {running.token()}",
        "Content-Type: application/json",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *fields,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def _client(
    running: RunningService, network: Network, numbers: Iterator[int], history: History
) -> None:
    for n in numbers:
        key = f"Idempotency-Key: create-{n}"
        create = _request(running, "POST", "/v1/items", key, body=f'{{"data":{{"n":{n}}}}}')
        heard = history.created[n] = await network.until_answered(create)
        assert heard.status == 201, heard
        if network.rng.random() < 0.1:
            await _assert_replayed(network, create, heard)
            history.replays += 1
        if n % CHANGED == 0:
            fields = f"Idempotency-Key: change-{n}", f"If-Match: {heard.fields['etag']}"
            body = f'{{"data":{{"n":{n},"changed":true}}}}'
            change = _request(running, "PUT", heard.fields["location"], *fields, body=body)
            answer = history.changed[n] = await network.until_answered(change)
            assert answer.status == 200, answer
            await _assert_replayed(network, change, answer)
            await _assert_replayed(network, create, heard)
            history.replays += 2


async def _assert_replayed(network: Network, request: bytes, first: Heard) -> None:
    again = await network.until_answered(request)
    assert again.fields.get("idempotency-replayed") == "true"
    assert (again.status, again.body) == (first.status, first.body)
    assert [again.fields.get(f) for f in ("etag", "location")] == [
        first.fields.get(f) for f in ("etag", "location")
    ]


async def _cut_links(shards: list[str], rng: random.Random, done: asyncio.Event) -> None:
    """End a few of the service's sessions at random instants, as a failing network would."""
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hotshelf'"
        " AND datname = current_database() ORDER BY random() LIMIT 2"
    )
    while not done.is_set():
        await asyncio.sleep(rng.uniform(0, 2))
        await asyncio.to_thread(execute, rng.choice(shards), cut)


async def _storm(
    running: RunningService, shards: list[str], rng: random.Random
) -> tuple[History, Network, Killer]:
    history, numbers, done = History(), iter(range(CREATES)), asyncio.Event()
    network, killer = Network(running.url, rng), Killer(running, rng)
    faults = asyncio.gather(killer.kill_until(done), _cut_links(shards, rng, done))
    try:
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(_client(running, network, numbers, history))
    finally:
        done.set()
        await faults
    return history, network, killer


def test_every_create_makes_one_item(lone_service: tuple[RunningService, list[str]]) -> None:
    """Exactly as many items, all that was acknowledged there and readable."""
    running, shards = lone_service
    print(f"HOTSHELF_TEST_SEED={SEED}")  # noqa: T201
    history, network, killer = uvloop.run(_storm(running, shards, random.Random(SEED)))
    print(f"{killer.killed} workers killed, {history.replays} replays, {network.tally}")  # noqa: T201
    assert len(history.created) == CREATES
    assert killer.killed >= 1
    stored = {}
    for url in shards:
        for row in execute(url, "SELECT (data->'n')::int, data, version FROM items"):
            assert row[0] not in stored
            stored[row[0]] = row[1:]
    assert set(stored) == set(range(CREATES))
    assert {n for n, (_, version) in stored.items() if version != 1} == set(history.changed)
    assert all(stored[n] == ({"n": n, "changed": True}, 2) for n in history.changed)
    with running.client() as client:
        for n in random.Random(SEED).sample(range(CREATES), min(CREATES, 500)):
            read = client.get(history.created[n].fields["location"])
            assert read.content == history.changed.get(n, history.created[n]).body
            assert json.loads(read.content)["data"]["n"] == n
