"""The service beside its peers, over HTTP: ``make bench-http``, or ``python -m bench.end_to_end``.

One worker, 64 connections, a bearer token, all policies on. Rounds are interleaved (ours, a
peer, ours, the next peer) and a ratio is made of two neighbours in time, so a machine that slows
down slows both. Leaves the samples in bench/results/end_to_end.json and a chart beside it.
"""

import argparse
import contextlib
import http.client
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis

from bench import machine
from bench.chart import chart
from bench.latency_chart import latency_chart
from bench.load import CONNECTIONS, Measure, Sample, as_row, measure_of
from bench.processes import Server
from bench.report import ratios, summary
from bench.servers import NEAR_CACHE_OFF, Place, has_near_cache, missing, ours, peer, server_of
from bench.workload import READER, Workload, fill, peers_redis_url, store_for_peers, write_requests
from service.embedded import EmbeddedStack
from tests.fixtures.running import RunningService
from tests.fixtures.stack import short_directory

RESULTS = Path(__file__).parent / "results"
AGAINST = {"near": ("granian", "nginx", "webdis"), "redis": ("webdis", "fastapi", "go")}
PACED_SHARE = 0.8
_MISS_SIZE = 2000
_MISS_TIMEOUT_S = 120

Row = dict[str, Any]
Asked = tuple[Server, Path]  # and the file of requests for it
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is measured: ``seconds`` a sample, ``rounds`` pairs of ours and each peer."""

    sizes: tuple[int, ...] = (300, 2000, 20_000)
    items: int = 1000
    misses: int = 5000
    rounds: int = 5
    seconds: int = 3
    peers: tuple[str, ...] = ("granian", "nginx", "webdis", "fastapi", "go")
    reads: tuple[str, ...] = ("near", "redis", "miss")


@dataclass
class Run:
    """One run while it grows; ``rows`` are the samples, in the order they were taken."""

    plan: Plan
    folder: Path
    stack: EmbeddedStack
    measure: Measure
    say: Say
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, what: str, why: str) -> None:
        self.skipped[what] = why
        self.say(f"skipped {what}: {why}")

    def add(
        self, kind: str, variant: str, size: int, server: str, sample: Sample, **more: object
    ) -> None:
        """``kind`` is pair, paced or miss; only paced ones keep all of their percentiles."""
        place: Row = {"kind": kind, "variant": variant, "body_bytes": size, "server": server}
        row = place | more | as_row(sample)
        if kind != "paced":
            del row["latencies_ms"]
        self.rows.append(row)
        self.say(
            f"{kind} {variant} {size} B {server}: {sample.rate:.0f}/s,"
            f" p99 {sample.p99_ms:.2f} ms, {sample.server_cpu_us:.1f} µs CPU"
        )


def run(plan: Plan, stack: EmbeddedStack, folder: Path, say: Say = print) -> Row:
    """Measure all of ``plan`` on a started stack; the result as it goes into the file."""
    about = machine.describe()
    with redis.Redis.from_url(stack.redis_url) as client, machine.watched() as others:
        state = Run(plan, folder, stack, measure_of(stack, client), say)
        _measure_all(state)
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": about | {"others": others},
        "plan": asdict(plan) | {"connections": CONNECTIONS, "paced_share": PACED_SHARE},
        "skipped": state.skipped,
        "ratios": ratios(state.rows),
        "samples": state.rows,
    }


def _measure_all(state: Run) -> None:
    for name in state.plan.peers:
        if why := missing(name):
            state.skip(name, why)
    for read in state.plan.reads:
        if read == "near" and not has_near_cache():
            state.skip("near", "this revision has no near cache")
        else:
            _measure_read(state, read)


def _measure_read(state: Run, variant: str) -> None:
    off = {NEAR_CACHE_OFF: "0"} if variant != "near" and has_near_cache() else {}
    folder = state.folder / variant
    folder.mkdir(exist_ok=True)
    with ours(state.stack, folder, **off) as service:
        if variant == "miss":
            _misses(state, service, folder)
            return
        for size in state.plan.sizes:
            workload = fill(service, size, state.plan.items)
            us = _asked(server_of(service), service, folder, workload, _targets(workload))
            with _peers(state, variant, service, folder, workload) as peers:
                _pairs(state, variant, us, peers, size)
                _paced(state, variant, (us, *peers), size)


@contextlib.contextmanager
def _peers(
    state: Run, variant: str, service: RunningService, folder: Path, workload: Workload
) -> Iterator[list[Asked]]:
    """The peers of this variant, running, with the same bytes to serve."""
    redis_url = peers_redis_url(state.stack.redis_url)
    store_for_peers(redis_url, workload)
    place = Place(folder, redis_url, workload)
    with contextlib.ExitStack() as running:
        peers = []
        for name in AGAINST[variant]:
            if name in state.plan.peers and name not in state.skipped:
                server, targets = running.enter_context(peer(name, place))
                peers.append(_asked(server, service, folder, workload, targets))
        yield peers


def _asked(
    server: Server, service: RunningService, folder: Path, workload: Workload, targets: list[str]
) -> Asked:
    """Raises RuntimeError unless the server gives the first item's own bytes."""
    token = service.token(READER, "items:read")
    first, expected = targets[0], next(iter(workload.bodies.values()))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", first, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        if answer.status != 200 or answer.read() != expected:
            raise RuntimeError(f"{server.name} answers {first} with {answer.status}, or wrongly")
    return server, write_requests(folder / f"{server.name}.requests", token, targets)


def _targets(workload: Workload) -> list[str]:
    return [f"/v1/items/{item_id}" for item_id in workload.ids]


def _pairs(state: Run, variant: str, us: Asked, peers: list[Asked], size: int) -> None:
    for asked in (us, *peers):
        state.measure.fastest(*asked, 1)  # connections and caches warm, the sample thrown away
    for number in range(state.plan.rounds):
        for them in peers:
            for asked in (us, them):
                sample = state.measure.fastest(*asked, state.plan.seconds)
                pair = {"round": number, "against": them[0].name}
                state.add("pair", variant, size, asked[0].name, sample, **pair)


def _paced(state: Run, variant: str, all_asked: tuple[Asked, ...], size: int) -> None:
    """Everybody in turns at the same share of their own highest rate."""
    rates = [_highest(state, variant, size, asked) for asked in all_asked]
    for number in range(state.plan.rounds):
        for asked, rate in zip(all_asked, rates, strict=True):
            sample = state.measure.paced(*asked, state.plan.seconds, rate * PACED_SHARE)
            state.add("paced", variant, size, asked[0].name, sample, round=number)


def _highest(state: Run, variant: str, size: int, asked: Asked) -> float:
    """Median of the samples without a given rate; measured here where there were no peers."""
    place = {"kind": "pair", "variant": variant, "body_bytes": size, "server": asked[0].name}
    seen = [row["rate"] for row in state.rows if place.items() <= row.items()]
    return float(statistics.median(seen or [_fastest(state, asked)]))


def _fastest(state: Run, asked: Asked) -> float:
    return state.measure.fastest(*asked, state.plan.seconds).rate


def _misses(state: Run, service: RunningService, folder: Path) -> None:
    """Every item once, right after Redis has lost them all."""
    workload = fill(service, _MISS_SIZE, state.plan.misses)
    us = _asked(server_of(service), service, folder, workload, _targets(workload))
    for number in range(state.plan.rounds):
        state.measure.redis.flushdb()
        sample = state.measure.paced(*us, _MISS_TIMEOUT_S, count=state.plan.misses)
        state.add("miss", "miss", _MISS_SIZE, "ours", sample, round=number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--seconds", type=int, default=Plan.seconds, help="of one sample")
    parser.add_argument("--items", type=int, default=Plan.items, help="of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=Plan.sizes, help="bytes of a body")
    parser.add_argument("--misses", type=int, default=Plan.misses, help="items read uncached")
    parser.add_argument("--peers", nargs="*", default=Plan.peers, choices=Plan.peers)
    parser.add_argument("--reads", nargs="*", default=Plan.reads, choices=Plan.reads)
    parser.add_argument("--output", type=Path, default=RESULTS / "end_to_end.json")
    chosen: dict[str, Any] = vars(parser.parse_args())
    output: Path = chosen.pop("output")
    machine.refuse_dirty(output)
    given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in chosen.items()}
    plan = Plan(**given)
    folder = short_directory()
    try:
        with EmbeddedStack(folder / "stack", durable=False) as stack:
            result = run(plan, stack, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    output.parent.mkdir(exist_ok=True)
    output.write_text(_as_text(result))
    output.with_suffix(".svg").write_text(chart(result))
    output.with_suffix(".latencies.svg").write_text(latency_chart(result))
    told = machine.told(result["machine"])
    print(f"\n{told}\n{summary(result)}\n\nin {output}, two charts beside it")


def _as_text(result: Row) -> str:
    """JSON with one line for each sample, so that two runs can be compared line by line."""
    members = []
    for name, value in result.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        members.append(f' "{name}": {text}')
    return "{\n" + ",\n".join(members) + "\n}\n"


if __name__ == "__main__":
    main()
