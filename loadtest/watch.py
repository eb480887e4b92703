"""What a soak watches: memory, descriptors and sockets of every worker, outbox, keys in Redis."""

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from bench.processes import descriptors, resident_bytes, tree

# Of the limiter: they are there as long as its data is (docs/storage.md).
LASTING = (b"limit-workers:", b"limit-born:")
_END_SAMPLES = 5
_OUTBOX_S = 15.0
_NAMED = 10

# Of each worker, by process id: resident bytes, descriptors, sockets among them.
Sample = dict[int, tuple[int, int, int]]
MEASURED = ("bytes", "descriptors", "sockets")


@dataclass
class Watch:
    """``samples`` with the second in which each was taken; ``rows`` of the outbox at that time."""

    root: int
    shards: list[str]
    redis: redis.Redis
    samples: list[tuple[float, Sample]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    lasting: set[bytes] = field(default_factory=set)

    def run(self, goes_on: Callable[[], bool], every_s: float) -> None:
        """Sample until it does not go on."""
        self.lasting = lasting_keys(self.redis)
        start = time.monotonic()
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(psycopg.connect(url, autocommit=True)) for url in self.shards
            ]
            while goes_on():
                # A worker that ends just now is missing in the next sample.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    seen = {pid: _measured(pid) for pid in worker_pids(self.root)}
                    self.samples.append((time.monotonic() - start, seen))
                self.rows.append(sum(map(_outbox, connections)))
                time.sleep(every_s)

    def found(self, first_s: float) -> dict[str, Any]:
        """Of every worker that lived to the end the medians at ``first_s`` and at the end.

        Then what is left when the load is over: rows of the outbox, and new keys without a TTL.
        """
        lived = [sample for _, sample in self.samples]
        return {
            "replaced": any(sample.keys() != lived[0].keys() for sample in lived),
            "workers": growth(self.samples, first_s),
            "outbox_most": max(self.rows, default=0),
            "outbox_left": self._left(),
            "keys_without_ttl": [
                name.decode(errors="replace")
                for name in sorted(lasting_keys(self.redis) - self.lasting)[:_NAMED]
            ],
        }

    def _left(self) -> int:
        """Rows that the workers have not relayed some seconds after the last write."""
        until, left = time.monotonic() + _OUTBOX_S, 0
        for url in self.shards:
            with psycopg.connect(url, autocommit=True) as connection:
                while (rows := _outbox(connection)) and time.monotonic() < until:
                    time.sleep(0.2)
                left += rows
        return left


def _measured(pid: int) -> tuple[int, int, int]:
    return resident_bytes(pid), *descriptors(pid)


def _outbox(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT count(*) FROM cache_outbox").fetchone()
    return int(row[0]) if row else 0


def lasting_keys(client: redis.Redis) -> set[bytes]:
    """Keys without a TTL that should have one."""
    names = [name for name in client.scan_iter(count=1000) if not name.startswith(LASTING)]
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.ttl(name)
        return {name for name, ttl in zip(names, pipeline.execute(), strict=True) if ttl == -1}


def growth(samples: list[tuple[float, Sample]], first_s: float) -> list[dict[str, float]]:
    """The medians of a few samples from ``first_s`` on, and of the last ones, by worker."""
    at = next((n for n, (second, _) in enumerate(samples) if second >= first_s), 0)
    then = [sample for _, sample in samples[at : at + _END_SAMPLES]]
    now = [sample for _, sample in samples[-_END_SAMPLES:]]
    found = []
    for pid in now[-1] if now else ():
        worker: dict[str, float] = {}
        for number, name in enumerate(MEASURED):
            first, last = (
                statistics.median(sample[pid][number] for sample in few if pid in sample)
                for few in (then, now)
            )
            worker |= {f"first_{name}": first, f"last_{name}": last}
        found.append(worker | {"ratio": round(worker["last_bytes"] / worker["first_bytes"], 4)})
    return found


def worker_pids(root: int) -> list[int]:
    """The service starts one process, Granian; workers are forks and so share its command line."""
    _, granian, *others = tree(root)
    line = _command_line(granian)
    return [pid for pid in others if _command_line(pid) == line]


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
