"""The items that a benchmark reads: written through the service, warm in Redis for everybody."""

import asyncio
import itertools
import random
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import redis

from tests.fixtures.running import RunningService

OWNER, READER = "bench-owner", "bench-reader"
PEER_ITEM, PEER_BODY = "peer:item:", "peer:body:"
# Of their own, because the service refuses a database that holds anybody else's keys.
PEER_DATABASE = 1
_WORDS = ["library", "package", "development", "files", "documentation", "support", "tool", "text"]
_WORDS += ["simple", "network", "server", "client", "format", "runtime", "graphical", "terminal"]
# What surrounds `data` in the answer of GET.
_ENVELOPE_BYTES = 190
_AT_ONCE = 16


@dataclass(frozen=True)
class Workload:
    """``bodies`` and ``tags`` are what GET answers, by id; ``size`` is their nominal length."""

    size: int
    bodies: dict[str, bytes]
    tags: dict[str, str]

    @property
    def ids(self) -> list[str]:
        return list(self.bodies)


def fill(service: RunningService, size: int, count: int) -> Workload:
    """POST ``count`` items of about ``size`` bytes as OWNER, and read each once as READER."""
    return asyncio.run(_fill(service, size, count))


async def _fill(service: RunningService, size: int, count: int) -> Workload:
    rng = random.Random(size)
    datas = [_data(rng, n, size) for n in range(count)]
    bodies: dict[str, bytes] = {}
    tags: dict[str, str] = {}
    turns = asyncio.Semaphore(_AT_ONCE)
    owner = {"authorization": f"Bearer {service.token(OWNER)}"}
    reader = {"authorization": f"Bearer {service.token(READER, 'items:read')}"}

    async def one(session: aiohttp.ClientSession, n: int) -> None:
        async with turns:
            key = {"idempotency-key": f"bench-{size}-{n}"}
            request = session.post("/v1/items", json={"data": datas[n]}, headers=owner | key)
            async with request as created:
                created.raise_for_status()
                item_id = (await created.json())["id"]
            async with session.get(f"/v1/items/{item_id}", headers=reader) as read:
                read.raise_for_status()
                bodies[item_id], tags[item_id] = await read.read(), read.headers["etag"]

    async with aiohttp.ClientSession(service.url) as session:
        await asyncio.gather(*(one(session, n) for n in range(count)))
    return Workload(size, bodies, tags)


def _data(rng: random.Random, n: int, size: int) -> dict[str, object]:
    """An object of words; numbers and a list too where there is room."""
    data: dict[str, object] = {"name": f"item-{n}", "description": ""}
    room = size - _ENVELOPE_BYTES - 40
    if room > 400:
        data |= {"size_bytes": rng.randrange(10**7), "tags": rng.sample(_WORDS, 5)}
        room -= 90
    words = itertools.accumulate(rng.choices(_WORDS, k=room), lambda text, word: f"{text} {word}")
    data["description"] = next(text for text in words if len(text) >= room)[:room]
    return data


def peers_redis_url(redis_url: str) -> str:
    """The peers' database on the server of ``redis_url``."""
    return urlsplit(redis_url)._replace(path=f"/{PEER_DATABASE}").geturl()


def store_for_peers(redis_url: str, workload: Workload) -> None:
    """The same bytes under the peers' own keys: with the tag, and bare for webdis."""
    with redis.Redis.from_url(redis_url) as client, client.pipeline(transaction=False) as pipeline:
        for item_id, body in workload.bodies.items():
            pipeline.set(PEER_ITEM + item_id, workload.tags[item_id].encode() + b"\n" + body)
            pipeline.set(PEER_BODY + item_id, body)
        pipeline.execute()


def write_requests(path: Path, token: str, targets: list[str]) -> Path:
    """The file that the load generator reads; it holds the token, so it is private.

    The targets are in another order than they were made in, because items that were made together
    lie together in PostgreSQL and expire together.
    """
    path.touch(mode=0o600)
    targets = random.Random(1).sample(targets, len(targets))
    path.write_text("\n".join([f"Authorization: Bearer {token}", "", *targets, ""]))
    return path
