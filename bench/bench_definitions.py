"""Definitions that change under load: ``python -m bench.bench_definitions``, a minute.

Two services of two workers each, as on two hosts, share two shards and Redis. An operator changes
a collection's schema over and over, asking them in turn, while readers read and writers write
through both. Counts what must not happen: a read that fails, or a write that was sent when a
definition was in force and accepted against it. Figures in bench/results/definitions.json.
"""

import argparse
import asyncio
import itertools
import json
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic, time
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from bench import machine
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import short_directory

RESULT = Path(__file__).parent / "results" / "definitions.json"
WORKERS = 2
_READERS, _WRITERS = 4, 4
_LEARNED_S = 10.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass
class Seen:
    """What happened. ``changes`` are numbered from 1; number n's schema accepts only ``{"n": n}``.

    ``answered`` holds when each change was answered, ``asked`` when it was sent, in seconds of
    the monotonic clock; ``known_s`` how long after its answer each worker logged it.
    """

    asked: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    known_s: list[float] = field(default_factory=list)
    reads: int = 0
    accepted: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    wrong_writes: list[str] = field(default_factory=list)

    def in_force(self, begun: float, ended: float) -> set[int]:
        """The changes whose schema may have counted for a request between two times."""
        first = sum(answered <= begun for answered in self.answered)
        last = sum(asked < ended for asked in self.asked)
        return set(range(first, last + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    args = parser.parse_args()
    where = machine.describe()
    folder = short_directory()
    try:
        with EmbeddedStack(folder, shards=2, replicas=0) as stack:
            seen = measure(Stack(stack.shards, stack.redis_url), folder, args.changes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps({"machine": where, **figures(seen)}, indent=1)
    RESULT.write_text(text + "\n")
    print(text)


def measure(stack: Stack, folder: Path, changes: int) -> Seen:
    """Start both hosts, change a definition so often under load, and stop them."""
    hosts: list[RunningService] = []
    try:
        for number in range(2):
            place = folder / f"host{number}"
            place.mkdir()
            settings = {"HOTSHELF_HTTP_WORKERS": str(WORKERS), "HOTSHELF_LOG_FORMAT": "json"}
            hosts.append(start_service(stack, place, **settings))
        return asyncio.run(_Run(hosts).run(changes))
    finally:
        for host in hosts:
            host.stop()


def figures(seen: Seen) -> dict[str, Any]:
    times = [end - begin for begin, end in zip(seen.asked, seen.answered, strict=True)]
    return {
        "changes": len(times),
        "change_ms_median": round(statistics.median(times) * 1e3, 1),
        "change_ms_max": round(max(times) * 1e3, 1),
        "known_everywhere_s_max": round(max(seen.known_s), 2),
        "reads": seen.reads,
        "failed": len(seen.failed),
        "writes_accepted": seen.accepted,
        "writes_refused": seen.refused,
        "writes_accepted_wrongly": len(seen.wrong_writes),
    }


class _Run:
    def __init__(self, hosts: Sequence[RunningService]) -> None:
        self._hosts = hosts
        self._seen = Seen()
        self._name = f"d-{uuid4().hex}"
        self._ended = asyncio.Event()

    async def run(self, changes: int) -> Seen:
        caller = {"authorization": f"Bearer {self._hosts[0].token('olga', 'items:admin')}"}
        # Each host has an issuer's key of its own.
        other = {"authorization": f"Bearer {self._hosts[1].token('olga', 'items:admin')}"}
        async with (
            aiohttp.ClientSession(self._hosts[0].url, headers=caller, timeout=_TIMEOUT) as first,
            aiohttp.ClientSession(self._hosts[1].url, headers=other, timeout=_TIMEOUT) as second,
        ):
            both = (first, second)
            await self._define(first, {"if-none-match": "*"}, {})
            await self._until_known(self._seen.answered.pop(), 1)
            self._seen.asked.clear()
            item = await self._create(first, {"n": 0})
            load = [self._read(both[n % 2], item) for n in range(_READERS)]
            load += [self._write(both[n % 2]) for n in range(_WRITERS)]
            tasks = [asyncio.create_task(each) for each in load]
            try:
                for number in range(1, changes + 1):
                    schema = {"properties": {"n": {"const": number}}, "required": ["n"]}
                    session = both[number % 2]
                    await self._define(session, {"if-match": "*"}, {"schema": schema})
                    if number % 10 == 0:
                        await self._until_known(self._seen.answered[-1], number + 1)
            finally:
                self._ended.set()
                await asyncio.gather(*tasks)
        return self._seen

    async def _define(
        self, session: aiohttp.ClientSession, condition: dict[str, str], definition: dict[str, Any]
    ) -> None:
        self._seen.asked.append(monotonic())
        path = f"/v1/collections/{self._name}"
        async with session.put(path, json=definition, headers=condition) as answer:
            answer.raise_for_status()
            self._version = (await answer.json())["version"]
        self._seen.answered.append(monotonic())

    async def _until_known(self, answered: float, changes: int) -> None:
        """Note how long after ``answered`` each worker of each host had logged the version."""
        answered_at = time() - (monotonic() - answered)
        until = monotonic() + _LEARNED_S
        while monotonic() < until:
            known = [self._learned(host) for host in self._hosts]
            if all(len(workers) == WORKERS for workers in known):
                times = [at - answered_at for workers in known for at in workers.values()]
                self._seen.known_s.append(max(0.0, *times))
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"after {_LEARNED_S} s not all workers know change {changes}")

    def _learned(self, host: RunningService) -> dict[int, float]:
        """When each worker first logged a version as new as the last change's, in Unix seconds."""
        learned: dict[int, float] = {}
        for text in host.log.read_bytes().splitlines():
            if b'"collections"' not in text:
                continue
            line = orjson.loads(text)
            if line.get("event") == "collections" and line["version"] >= self._version:
                at = datetime.fromisoformat(line["time"]).timestamp()
                learned.setdefault(line["worker"], at)
        return learned

    async def _create(self, session: aiohttp.ClientSession, data: dict[str, int]) -> str:
        key = {"idempotency-key": uuid4().hex}
        async with session.post(f"/v1/{self._name}", json={"data": data}, headers=key) as answer:
            answer.raise_for_status()
            made: str = (await answer.json())["id"]
            return made

    async def _read(self, session: aiohttp.ClientSession, item: str) -> None:
        paths = itertools.cycle([f"/v1/{self._name}/{item}", f"/v1/{self._name}?limit=1"])
        for path in paths:
            if self._ended.is_set():
                return
            async with session.get(path) as answer:
                self._seen.reads += 1
                if answer.status != 200:
                    self._seen.failed.append(await answer.text())

    async def _write(self, session: aiohttp.ClientSession) -> None:
        """Send data of the schema in force, and of the one before, which is the wrong one."""
        seen = self._seen
        for back in itertools.cycle((0, 1)):
            if self._ended.is_set():
                return
            begun, number = monotonic(), len(seen.answered) - back
            key = {"idempotency-key": uuid4().hex}
            data = {"data": {"n": number}}
            async with session.post(f"/v1/{self._name}", json=data, headers=key) as answer:
                text = await answer.text()
            if answer.status == 201:
                seen.accepted += 1
                allowed = seen.in_force(begun, monotonic())
                # Before the first change everything was accepted.
                if 0 not in allowed and number not in allowed:
                    seen.wrong_writes.append(f"{number} is none of {allowed}")
            else:
                seen.refused += 1
                if answer.status != 422 and "definition-changed" not in text:
                    seen.failed.append(text)


if __name__ == "__main__":
    main()
