"""What a thousand collections cost: ``python -m bench.bench_many_collections``, a few minutes.

Two installations, one with a single collection besides ``items`` and one with many, each served by
one worker. Both start several times in turn; then reads by id and pages of a list take turns, by
the CPU time of the whole service for one answer. Figures in bench/results/many_collections.json.
"""

import argparse
import contextlib
import itertools
import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psycopg

from bench import machine
from bench.closed_loop import read_cost_us
from bench.processes import resident_bytes, tree
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import short_directory

RESULT = Path(__file__).parent / "results" / "many_collections.json"
NAME = "products"
_CONNECTIONS, _ITEMS = 16, 50
_QUOTA = {"HOTSHELF_LIMITS_QUOTA": "1000000", "HOTSHELF_LIMITS_WINDOW_S": "1"}
_SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "maxLength": 200}, "price": {"minimum": 0}},
}
# As the service would store them one by one, which takes a minute.
_MAKE = """
    INSERT INTO collections (number, name, version, definition)
    SELECT n, 'collection-' || n, n, %s::text::jsonb FROM generate_series(2, %s) AS n"""


@dataclass
class Installation:
    stack: Stack
    folder: Path
    ids: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    where = machine.describe()
    found = measure(args.collections, args.rounds, args.seconds)
    text = json.dumps({"machine": where, "collections": args.collections, **found}, indent=1)
    RESULT.write_text(text + "\n")
    print(text)


def measure(collections: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Medians for each installation, and how many times as much ``many`` takes as ``one``."""
    with contextlib.ExitStack() as opened:
        both = {
            "one": opened.enter_context(_installation(1)),
            "many": opened.enter_context(_installation(collections)),
        }
        found: dict[str, dict[str, list[float]]] = {name: {} for name in both}
        for _ in range(max(1, rounds // 2)):
            for name, each in both.items():
                for what, value in _start(each).items():
                    found[name].setdefault(what, []).append(value)
        running = {name: opened.enter_context(_running(each))[0] for name, each in both.items()}
        for turn in range(rounds + 1):
            for name in itertools.islice(itertools.cycle(both), turn, turn + 2):
                for what, paths in _paths(both[name].ids).items():
                    token = running[name].token("rita", "*:read")
                    us = read_cost_us(running[name], token, paths, _CONNECTIONS, seconds)
                    # The first turn warms both.
                    if turn:
                        found[name].setdefault(what, []).append(us)
    medians = {name: {w: statistics.median(v) for w, v in f.items()} for name, f in found.items()}
    ratios = {what: medians["many"][what] / value for what, value in medians["one"].items()}
    return _rounded({**medians, "many_by_one": ratios})


@contextlib.contextmanager
def _installation(collections: int) -> Iterator[Installation]:
    """PostgreSQL and Redis of its own; items in the first collection, all read once."""
    folder = short_directory()
    try:
        with EmbeddedStack(folder, shards=1, replicas=0) as servers:
            stack = Stack(servers.shards, servers.redis_url)
            place = folder / "service"
            place.mkdir()
            made = Installation(stack, place, [])
            with _running(made) as (service, _):
                made.ids = _fill(service)
            if collections > 1:
                with psycopg.connect(servers.shards[0][0], autocommit=True) as connection:
                    definition = orjson.dumps({"schema": _SCHEMA, "read": "any"}).decode()
                    connection.execute(_MAKE, (definition, collections))
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(installation: Installation) -> Iterator[tuple[RunningService, float]]:
    """The service and the seconds it took until it was ready."""
    begun = perf_counter()
    service = start_service(installation.stack, installation.folder, **_QUOTA)
    took_s = perf_counter() - begun
    try:
        yield service, took_s
    finally:
        service.stop()


def _fill(service: RunningService) -> list[str]:
    with service.client("olga", "items:admin") as client:
        new = {"if-none-match": "*"}
        path = f"/v1/collections/{NAME}"
        client.put(path, json={"schema": _SCHEMA}, headers=new).raise_for_status()
        return [_item(client, n) for n in range(_ITEMS)]


def _item(client: httpx.Client, n: int) -> str:
    data = {"data": {"name": f"product {n}", "price": n, "text": "x" * 200}}
    made = client.post(f"/v1/{NAME}", json=data, headers={"idempotency-key": uuid4().hex})
    made.raise_for_status()
    made_id: str = made.json()["id"]
    return made_id


def _start(installation: Installation) -> dict[str, float]:
    with _running(installation) as (service, took_s):
        worker = max(map(resident_bytes, tree(service.process.pid)))
        return {"start_s": took_s, "worker_mb": worker / 2**20}


def _paths(ids: list[str]) -> dict[str, list[str]]:
    return {
        "get_us": [f"/v1/{NAME}/{item_id}" for item_id in ids],
        "list_us": [f"/v1/{NAME}?limit=20"],
    }


def _rounded(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {name: {what: round(v, 3) for what, v in f.items()} for name, f in found.items()}


if __name__ == "__main__":
    main()
