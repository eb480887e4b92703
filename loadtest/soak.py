"""A long run of mixed load, and what grows or breaks meanwhile: ``make soak MINUTES=60``.

Starts a stack that syncs every commit to disk and the service with a quota, lets `locustfile.py`
load them, samples every worker, and checks the histories of a few clients besides. Leaves
bench/results/soak.json. Exit status 1: a wrong or failed answer, a broken promise, a replaced
worker, rows left in the outbox, keys in Redis without a TTL, or (in a run long enough to tell)
memory over 1.05 of what it was after five minutes, or more descriptors or sockets.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from bench import machine, tables
from bench.servers import ours
from loadtest.load import command, settings
from loadtest.verdict import troubles
from loadtest.watch import Watch
from loadtest.watched_traffic import WINDOW_S, WatchedTraffic
from service.access import signing_keys
from service.embedded import EmbeddedStack
from tests.fixtures.running import AUDIENCE, ISSUER, RunningService

_FIRST_S = 300.0
# As the default in kind: an account's bucket, which a user of the load stays below on average.
_QUOTA = {"HOTSHELF_LIMITS_QUOTA": "1500", "HOTSHELF_LIMITS_WINDOW_S": "60"}
_SAMPLES = 600
_KEPT_ERRORS = 10


def soak(stack: EmbeddedStack, folder: Path, seconds: float, users: int, workers: int) -> Any:
    """Run the load; the result as it goes into the file."""
    about = machine.describe()
    with (
        ours(stack, folder, **_QUOTA, HOTSHELF_HTTP_WORKERS=str(workers)) as service,
        redis.Redis.from_url(stack.redis_url) as client,
        machine.watched() as others,
    ):
        tokens = _tokens(service, folder, users, seconds)
        shards = [nodes[0] for nodes in stack.shards]
        watch = Watch(service.process.pid, shards, client)
        traffic = WatchedTraffic(service, shards, min(WINDOW_S, seconds / 2))
        load = _start_load(service.url, tokens, seconds, users, folder)
        try:
            deadline = time.monotonic() + seconds + 120
            with traffic.flowing():
                watch.run(
                    lambda: load.poll() is None and time.monotonic() < deadline,
                    max(1.0, seconds / _SAMPLES),
                )
        finally:
            load.kill()
            load.wait()
        first_s = min(_FIRST_S, seconds / 3)
        found = watch.found(first_s)
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": about | {"others": others},
        "minutes": seconds / 60,
        "users": users,
        "first_s": first_s,
        **_of_locust(folder),
        "checked_operations": traffic.operations,
        "violations": traffic.violations,
        **found,
    }


def _tokens(service: RunningService, folder: Path, users: int, seconds: float) -> Path:
    path = folder / "tokens"
    path.touch(mode=0o600)
    scope, ttl_s = "items:read items:write", int(seconds) + 3600
    minted = (
        signing_keys.mint(service.key, ISSUER, AUDIENCE, f"soak-{n}", scope, ttl_s)
        for n in range(users)
    )
    path.write_text("\n".join(minted))
    return path


def _start_load(
    url: str, tokens: Path, seconds: float, users: int, folder: Path
) -> subprocess.Popen[bytes]:
    env = settings("soak", users, seconds / 60, tokens, folder)
    # More changes than usual, since they are what is checked.
    env["HOTSHELF_LOAD_WRITES"] = "10"
    files = ["--json-file", str(folder / "locust"), "--csv", str(folder / "locust")]
    words = command(url, *files, "--loglevel", "ERROR", "--exit-code-on-error", "0")
    with (folder / "locust.log").open("wb") as log:
        return subprocess.Popen(
            words, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )


def _of_locust(folder: Path) -> dict[str, Any]:
    """Counts, the kinds of failures, and locust's own facts."""
    report, facts = folder / "locust.json", folder / "facts.json"
    if not report.exists() or not facts.exists():
        raise RuntimeError(
            f"locust has told nothing:\n{(folder / 'locust.log').read_text()[-2000:]}"
        )
    counts = json.loads(report.read_text())
    return {
        "requests": sum(entry["num_requests"] for entry in counts),
        "failures": sum(entry["num_failures"] for entry in counts),
        "by_name": {entry["name"]: entry["num_requests"] for entry in counts},
        "errors": _errors(folder),
        **json.loads(facts.read_text()),
    }


def _errors(folder: Path) -> list[dict[str, str]]:
    """The first few kinds of failures, and of exceptions in a user, which are not failures."""
    failed = [
        {"name": row["Name"], "error": row["Error"], "times": row["Occurrences"]}
        for row in _rows(folder / "locust_failures.csv")
    ]
    raised = [
        {"name": "a user", "error": row["Message"], "times": row["Count"]}
        for row in _rows(folder / "locust_exceptions.csv")
    ]
    return [*failed[:_KEPT_ERRORS], *raised[:_KEPT_ERRORS]]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, default=machine.RESULTS / "soak.json")
    args = parser.parse_args()
    machine.refuse_dirty(args.output)
    # Not in memory, because fsync should have something to do.
    folder = Path(tempfile.mkdtemp(prefix="hs-"))
    folder.chmod(0o711)
    try:
        with EmbeddedStack(folder / "stack") as stack:
            result = soak(stack, folder, args.minutes * 60, args.users, args.workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    args.output.parent.mkdir(exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(tables.soak(result))
    found = troubles(result)
    print("\n".join(found) or "all is well")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
