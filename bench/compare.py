"""This tree beside another revision: ``make bench-compare BASE=rev``.

Both services run at the same time, each over servers of its own, and are asked in turns: near hit,
Redis hit, list page. A ratio is made of two neighbours in time, every other pair begins with the
other side. Exit status 1: the median of a ratio, this tree ÷ base, is below 0.95, by requests a
second and by requests per second of CPU. (Either alone may be another program's doing.)
"""

import argparse
import contextlib
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

from bench import machine
from bench.load import Measure, Sample, measure_of
from bench.processes import Server
from bench.revision import checked_out, compile_native
from bench.servers import NEAR_CACHE_OFF, ours, server_of
from bench.workload import READER, fill, write_requests
from service.embedded import EmbeddedStack
from tests.fixtures.stack import short_directory

LEAST = 0.95
READS: dict[str, dict[str, str]] = {"near hit": {}, "Redis hit": {NEAR_CACHE_OFF: "0"}, "list": {}}
_SIZE = 2000


@dataclass(frozen=True)
class Side:
    """One of the two: its servers, and the code that runs over them (empty: this tree's)."""

    name: str
    stack: EmbeddedStack
    measure: Measure
    source: str


@dataclass(frozen=True)
class Compared:
    """This tree ÷ base, of each round."""

    by_rate: list[float]
    by_cpu: list[float]

    @property
    def is_slower(self) -> bool:
        return max(map(statistics.median, (self.by_rate, self.by_cpu))) < LEAST

    def __str__(self) -> str:
        return f"{_spread(self.by_rate)}, by CPU time {_spread(self.by_cpu)}"


def _spread(ratios: list[float]) -> str:
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


@contextlib.contextmanager
def sides(folder: Path, base: Path) -> Iterator[tuple[Side, Side]]:
    """This tree and ``base``, with their servers running."""
    with contextlib.ExitStack() as running:
        found = []
        for name, source in (("this", ""), ("base", str(base))):
            place = folder / name
            place.mkdir()
            stack = EmbeddedStack(place, shards=1, replicas=0, durable=False)
            running.enter_context(stack)
            client = running.enter_context(redis.Redis.from_url(stack.redis_url))
            found.append(Side(name, stack, measure_of(stack, client), source))
        yield found[0], found[1]


def compare(
    pair: tuple[Side, Side], folder: Path, reads: Mapping[str, Mapping[str, str]], plan: "Plan"
) -> dict[str, Compared]:
    """Every read of ``reads``, by name, under its settings."""
    return {name: _compared(pair, folder, name, settings, plan) for name, settings in reads.items()}


@dataclass(frozen=True)
class Plan:
    """``seconds`` a sample, ``rounds`` pairs of them for each read."""

    rounds: int = 11
    seconds: float = 2
    items: int = 300


def _compared(
    pair: tuple[Side, Side], folder: Path, read: str, settings: Mapping[str, str], plan: Plan
) -> Compared:
    by_rate, by_cpu = [], []
    with contextlib.ExitStack() as running:
        this, base = (
            running.enter_context(_asked(side, folder, read, settings, plan)) for side in pair
        )
        for number in range(plan.rounds + 1):
            if number % 2:
                new, old = this(), base()
            else:
                old, new = base(), this()
            if number:  # the first pair warms up
                by_rate.append(new.rate / old.rate)
                by_cpu.append(_cpu_us(old) / _cpu_us(new))
    return Compared(by_rate, by_cpu)


def _cpu_us(sample: Sample) -> float:
    """Never 0, which a short sample can come to by the length of a clock tick."""
    return max(1e-3, sample.server_cpu_us + sample.redis_cpu_us + sample.postgres_cpu_us)


@contextlib.contextmanager
def _asked(
    side: Side, folder: Path, read: str, settings: Mapping[str, str], plan: Plan
) -> Iterator[Callable[[], Sample]]:
    """The running service of one side; what it gives takes a sample."""
    place = folder / f"{side.name} {read}".replace(" ", "-")
    place.mkdir()
    with ours(side.stack, place, side.source, **settings) as service:
        targets = ["/v1/items?limit=20"]
        workload = fill(service, _SIZE, plan.items)
        if read != "list":
            targets = [f"/v1/items/{item_id}" for item_id in workload.ids]
        requests = write_requests(place / "requests", service.token(READER, "items:read"), targets)
        known = server_of(service)
        server = Server(f"{side.name} ({read})", known.port, known.pid)
        yield lambda: side.measure.fastest(server, requests, plan.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="a revision, as git names it")
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="of one sample")
    parser.add_argument("--reads", nargs="+", default=list(READS), choices=READS)
    args = parser.parse_args()
    folder = short_directory()
    try:
        with checked_out(args.base, folder) as base:
            compile_native(base)
            with sides(folder, base) as pair, machine.watched() as others:
                reads = {name: READS[name] for name in args.reads}
                found = compare(pair, folder, reads, Plan(args.rounds, args.seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{machine.revision()} ÷ {args.base}; {machine.told_of(others)}")
    for read, compared in found.items():
        print(f"{read}: {compared}{', too slow' if compared.is_slower else ''}")
    return int(any(compared.is_slower for compared in found.values()))


if __name__ == "__main__":
    sys.exit(main())
