"""POST, PUT and replays over HTTP ÷ pgbench running the same SQL at 16 connections.

One worker, 64 connections, Authorization header, one durable shard, all on this machine; and
the write path alone, without HTTP and Redis, called by 64 tasks. What is compared takes turns, so
that whatever else the machine does meets both; the figure is the median of the rounds' ratios.

Run: python -m bench.bench_writes [--rounds N] [--seconds S]
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import uvloop

from bench import machine
from bench.closed_loop import throughput
from service import native
from service.embedded import EmbeddedStack, Stack
from service.embedded.binaries import postgres_bin
from service.embedded.processes import server_account
from service.items.decision import Conditions
from service.model.caller import Caller
from service.model.entity_tag import parse_tag_condition
from service.settings import Database
from service.store.write import statements
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.writers import key, workers

CONNECTIONS = 64
PGBENCH_CLIENTS = 16
ITEMS = 1000
# As long as the mean of the catalog's items.
DATA = json.dumps({"name": "kettle", "price": 19.9, "tags": ["a", "b"], "text": "lorem " * 112})
TARGETS = {"POST": 0.8, "PUT": 0.6, "replay": 1.0}
RESULTS = Path(__file__).parent / "results"

BENCH = Caller("bench", frozenset({"items:write"}))

_ID = "('01990000-0000-7000-8000-' || lpad(to_hex(:n::bigint), 12, '0'))::uuid"
_FINGERPRINT = r"'\x" + "ab" * 32 + "'::bytea"


def item_id(n: int) -> bytes:
    """One of the items that are there for PUT, as ``_ID`` counts them."""
    return UUID(f"01990000-0000-7000-8000-{n % ITEMS + 1:012x}").bytes


def filled(statement: str, *values: str) -> str:
    """The statement with each parameter replaced by SQL text, on one line."""
    remaining = iter(values)
    text = re.sub(r"%b", lambda _: next(remaining), statement)
    assert next(remaining, None) is None
    return " ".join(line.strip() for line in text.splitlines()).strip() + ";"


def _create(key: str, lock: str) -> str:
    arrays = [lock, "3", "'bench'", key, _FINGERPRINT, "uuidv7()", f"'{DATA}'"]
    return filled(statements.CREATE_ITEMS, *(f"ARRAY[{value}]" for value in arrays), "86400")


def _scripts() -> dict[str, str]:
    """One pgbench script a kind, in the same round trips as the service's."""
    key = "'key-' || :n"
    known = ["3", "'bench'", key, _FINGERPRINT, "uuidv7()", f"'{DATA}'"]
    replay = filled(statements.READ_CREATED, *(f"ARRAY[{value}]" for value in known))
    put = [
        "\\startpipeline",
        "BEGIN;",
        filled(statements.LOCK_ITEM, _ID),
        filled(statements.TRANSACTION, "3"),
        "\\endpipeline",
        "\\startpipeline",
        filled(statements.REPLACE_DATA, f"'{DATA}'", _ID),
        "COMMIT;",
        "\\endpipeline",
    ]
    chosen = f"\\set n random(1, {ITEMS})\n"
    fresh = "\\set n random(1, 9000000000000000000)\n"
    return {
        "POST": fresh + _create("'fresh-' || :n", ":n") + "\n",
        "PUT": chosen + "\n".join(put) + "\n",
        "replay": chosen + _create(key, ":n") + "\n" + replay + "\n",
    }


class Bench:
    """The servers under measurement, and both ways to drive them."""

    def __init__(self, url: str, service: RunningService, folder: Path, seconds: float) -> None:
        self._url = url
        self._service = service
        self._seconds = seconds
        self._port = urlsplit(service.url).port or 0
        self._head = (
            f"Host: bench\r\nAuthorization: Bearer {service.token('bench')}\r\n"
            "Content-Type: application/json\r\n"
        )
        self._scripts = {}
        for kind, text in _scripts().items():
            self._scripts[kind] = folder / f"{kind}.sql"
            self._scripts[kind].write_text(text)
        self._fresh = itertools.count()

    def prepare(self) -> None:
        """Items and keys for PUT and replays, of both kinds."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                f"INSERT INTO items SELECT {_ID.replace(':n:', 'n:')}, 'bench', %s::jsonb, 1,"  # noqa: S608
                " now(), now() FROM generate_series(1, %s) n",
                (DATA, ITEMS),
            )
            for n in range(1, ITEMS + 1):
                create = _create("'key-' || :n", ":n").replace(":n", str(n))
                connection.execute(create.replace("%", "%%").encode())
        with self._service.client("bench") as client:
            for n in range(1, ITEMS + 1):
                headers = {"content-type": "application/json", "idempotency-key": f"again-{n}"}
                answer = client.post("/v1/items", content=f'{{"data":{DATA}}}', headers=headers)
                assert answer.status_code == 201, answer.text

    def ours(self, kind: str) -> float:
        requests, status = {
            "POST": (self._posts, 201),
            "PUT": (self._puts, 200),
            "replay": (self._replays, 201),
        }[kind]
        return uvloop.run(throughput(self._port, requests, status, CONNECTIONS, self._seconds))

    def alone(self, kind: str) -> float:
        """The item writer's answers a second, in this process."""
        return uvloop.run(self._alone(kind))

    async def _alone(self, kind: str) -> float:
        settings = Database(shards=((self._url,),), pool_size=PGBENCH_CLIENTS)
        data, condition = DATA.encode(), Conditions(if_match=parse_tag_condition("*"))
        begun = perf_counter()
        answers = 0
        async with workers(settings, 1) as [writer]:

            async def client() -> None:
                nonlocal answers
                while perf_counter() < begun + self._seconds:
                    n = next(self._fresh)
                    if kind == "PUT":
                        await writer.replace(BENCH, item_id(n), data, condition)
                    else:
                        name = f"alone-{n if kind == 'POST' else n % ITEMS}"
                        await writer.create(BENCH, key(name), data)
                    answers += 1

            await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
        return answers / (perf_counter() - begun)

    def pgbench(self, kind: str) -> float:
        command = [str(postgres_bin(server_account()) / "pgbench"), "--no-vacuum"]
        command += ["--protocol=prepared", f"--client={PGBENCH_CLIENTS}", "--jobs=1"]
        command += [f"--time={round(self._seconds)}", f"--file={self._scripts[kind]}", self._url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = re.search(r"^tps = ([0-9.]+) ", done.stdout, re.MULTILINE)
        assert found is not None, done.stdout
        return float(found[1])

    def _posts(self) -> Iterator[bytes]:
        for n in self._fresh:
            yield self._request("POST", "/v1/items", f"Idempotency-Key: bench-{n}\r\n")

    def _replays(self) -> Iterator[bytes]:
        for n in self._fresh:
            key = f"Idempotency-Key: again-{n % ITEMS + 1}\r\n"
            yield self._request("POST", "/v1/items", key)

    def _puts(self) -> Iterator[bytes]:
        for n in self._fresh:
            path = f"/v1/items/{native.format_id(item_id(n))}"
            yield self._request("PUT", path, "If-Match: *\r\n")

    def _request(self, method: str, path: str, fields: str) -> bytes:
        body = f'{{"data":{DATA}}}'
        length = f"Content-Length: {len(body)}\r\n"
        return f"{method} {path} HTTP/1.1\r\n{self._head}{fields}{length}\r\n{body}".encode()


def measure(bench: Bench, rounds: int) -> dict[str, dict[str, object]]:
    """Rounds of every kind, ours and pgbench in turns; the first round warms up."""
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in TARGETS}
    for number in range(rounds + 1):
        for kind, rows in found.items():
            row = bench.ours(kind), bench.pgbench(kind), bench.alone(kind)
            if number:
                rows.append(row)
                tell(f"{kind}: {row[0]:.0f}/s, pgbench {row[1]:.0f}/s, alone {row[2]:.0f}/s")
    return {
        kind: {
            "ours_per_s": [round(ours) for ours, _, _ in rows],
            "pgbench_per_s": [round(pgbench) for _, pgbench, _ in rows],
            "alone_per_s": [round(alone) for _, _, alone in rows],
            "ratio": round(statistics.median(ours / pgbench for ours, pgbench, _ in rows), 3),
            "ratio_alone": round(statistics.median(alone / pg for _, pg, alone in rows), 3),
            "target": TARGETS[kind],
        }
        for kind, rows in found.items()
    }


def tell(line: str) -> None:
    """Into the terminal, at once."""
    print(line, flush=True)


def main() -> None:
    """Measure, print, and keep the figures in bench/results/writes.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hs-"))
    try:
        with EmbeddedStack(folder / "stack", shards=1, replicas=0) as stack:
            running = Stack(stack.shards, stack.redis_url)
            service = start_service(
                running,
                folder,
                HOTSHELF_HTTP_WORKERS="1",
                HOTSHELF_LIMITS_QUOTA="1000000",
                HOTSHELF_DATABASE_POOL_SIZE=str(PGBENCH_CLIENTS),
            )
            try:
                bench = Bench(stack.shards[0][0], service, folder, options.seconds)
                bench.prepare()
                with machine.watched() as others:
                    kinds = measure(bench, options.rounds)
            finally:
                service.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = {
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "machine": platform.platform(),
        "revision": machine.revision(),
        "others": others,
        "kinds": kinds,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "writes.json").write_text(json.dumps(report, indent=2) + "\n")
    for kind, figures in kinds.items():
        tell(
            f"{kind} ÷ pgbench: {figures['ratio']} (target: {figures['target']});"
            f" the write path alone {figures['ratio_alone']}"
        )


if __name__ == "__main__":
    main()
