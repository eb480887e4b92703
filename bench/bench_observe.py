"""What being looked at costs a read: ``python -m bench.bench_observe``, a few minutes.

One service without it (bench/unobserved.py), one with histograms and a JSON access log of 1 %, one
that traces 1 % of its requests besides. They take turns; a figure is the CPU time of the whole
service for one answer, the least of all rounds: on a busy machine a rate says more of the others.
"""

import argparse
import contextlib
import itertools
import json
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.closed_loop import read_cost_us
from bench.workload import READER, fill
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.collector import running_collector
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import short_directory

RESULT = Path(__file__).parent / "results" / "observe.json"
_CONNECTIONS, _ITEMS, _SIZE = 64, 200, 300
_QUOTA = {"HOTSHELF_LIMITS_QUOTA": "1000000", "HOTSHELF_LIMITS_WINDOW_S": "1"}
_READS = {"near": {}, "redis": {"HOTSHELF_NEAR_CACHE_BYTES": "0"}}
_OFF = {"HOTSHELF_LOG_ACCESS_SAMPLE": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    folder = short_directory()
    try:
        with EmbeddedStack(folder, shards=1, replicas=0) as stack:
            servers = Stack(stack.shards, stack.redis_url)
            found = measure(servers, folder, tuple(_READS), args.rounds, args.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def measure(
    servers: Stack, folder: Path, reads: tuple[str, ...], rounds: int, seconds: float
) -> dict[str, Any]:
    """The costs of ``reads``, "near" and "redis", on servers that nobody else uses."""
    found: dict[str, Any] = {"machine": machine.describe()}
    with running_collector() as collector:
        for read in reads:
            with _variants(servers, folder, collector.url, _READS[read]) as variants:
                found[read] = _compared(variants, rounds, seconds)
        found["spans"] = len(collector.spans())
    return found


@contextlib.contextmanager
def _variants(
    servers: Stack, folder: Path, collector: str, near: dict[str, str]
) -> Iterator[dict[str, RunningService]]:
    traced = {"HOTSHELF_OTEL_TRACES": "true", "HOTSHELF_OTEL_ENDPOINT": collector}
    traced |= {"HOTSHELF_OTEL_SAMPLE": "0.01", "HOTSHELF_OTEL_PER_S": "1000000"}
    wanted = {
        "off": (("-m", "bench.unobserved"), _OFF),
        "on": (("-m", "service.cli", "serve"), {}),
        "traced": (("-m", "service.cli", "serve"), traced),
    }
    running = {}
    try:
        for name, (program, settings) in wanted.items():
            place = folder / f"{name}-{len(near)}"
            place.mkdir()
            every = _QUOTA | near | settings
            running[name] = start_service(servers, place, program=program, **every)
        yield running
    finally:
        for service in running.values():
            service.stop()


def _compared(variants: dict[str, RunningService], rounds: int, seconds: float) -> dict[str, Any]:
    cost: dict[str, list[float]] = {name: [] for name in variants}
    paths = [f"/v1/items/{item_id}" for item_id in fill(variants["on"], _SIZE, _ITEMS).ids]
    for turn in range(rounds + 1):
        for name in itertools.islice(itertools.cycle(variants), turn, turn + len(variants)):
            token = variants[name].token(READER, "items:read")
            us = read_cost_us(variants[name], token, paths, _CONNECTIONS, seconds)
            # The first turn warms all of them.
            if turn:
                cost[name].append(us)
    # What others do on the machine makes each round dearer by another amount, and none cheaper.
    least = {name: min(each) for name, each in cost.items()}
    medians = {name: round(statistics.median(each), 2) for name, each in cost.items()}
    return {
        "rounds_us": {name: [round(us, 1) for us in each] for name, each in cost.items()},
        "least_us": {name: round(us, 2) for name, us in least.items()},
        "median_us": medians,
        "off_by": {name: round(least["off"] / least[name], 3) for name in ("on", "traced")},
    }


if __name__ == "__main__":
    main()
