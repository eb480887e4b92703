"""A long run of mixed load, and what grows meanwhile: ``make soak MINUTES=60``.

Starts a stack and the service, lets `locustfile.py` load them, and samples the resident memory
of every worker. Prints memory at the end ÷ after a minute, and leaves bench/results/soak.json.
Exit status 1: a request failed, a worker was replaced, or (in a run long enough to tell) a
worker grew by more than a twentieth.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.processes import resident_bytes, tree
from bench.report import RESULTS, soak_table
from bench.servers import ours
from service.access import signing_keys
from service.embedded import EmbeddedStack
from tests.fixtures.running import AUDIENCE, ISSUER, RunningService
from tests.fixtures.stack import short_directory

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
MOST = 1.05
_FIRST_S = 60.0
# Below this, a minute's growth says nothing about an hour's.
_TELLING_MINUTES = 10.0
_END_SAMPLES = 5

Samples = list[dict[int, int]]


def soak(stack: EmbeddedStack, folder: Path, seconds: float, users: int, workers: int) -> Any:
    """Run the load; the result as it goes into the file. Raises RuntimeError when locust fails."""
    about = machine.describe()
    with ours(stack, folder, HOTSHELF_HTTP_WORKERS=str(workers)) as service:
        tokens = _tokens(service, folder, users, seconds)
        report = folder / "locust.json"
        with report.open("wb") as output:
            load = _start_load(service.url, tokens, seconds, users, output)
            try:
                first_s, samples = _sample(service, load, seconds)
                status = load.wait(60)
            finally:
                load.kill()
                load.wait()
        if status:
            raise RuntimeError(f"locust ended with {status}, see {report}")
    counts = json.loads(report.read_text())
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": about,
        "minutes": seconds / 60,
        "users": users,
        "first_s": first_s,
        "requests": sum(entry["num_requests"] for entry in counts),
        "failures": sum(entry["num_failures"] for entry in counts),
        "replaced": any(sample.keys() != samples[0].keys() for sample in samples),
        "workers": _growth(samples, first_s, seconds),
        "samples_bytes": [list(sample.values()) for sample in samples[:: len(samples) // 300 + 1]],
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
    url: str, tokens: Path, seconds: float, users: int, output: Any
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless"]
    command += ["--host", url, "--users", str(users), "--spawn-rate", str(max(1, users / 2))]
    command += ["--run-time", f"{max(1, round(seconds))}s", "--stop-timeout", "10"]
    command += ["--only-summary", "--json", "--loglevel", "ERROR", "--exit-code-on-error", "0"]
    env = os.environ | {"HOTSHELF_LOAD_TOKENS": str(tokens)}
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output)


def _sample(
    service: RunningService, load: subprocess.Popen[bytes], seconds: float
) -> tuple[float, Samples]:
    """Memory by worker, once a second until the load ends; and when the first one counts."""
    samples: Samples = []
    start = time.monotonic()
    while load.poll() is None and time.monotonic() < start + seconds + 60:
        # A worker that ends just now is missing in the next sample.
        with contextlib.suppress(FileNotFoundError):
            samples.append({pid: resident_bytes(pid) for pid in worker_pids(service.process.pid)})
        time.sleep(1)
    return min(_FIRST_S, seconds / 3), samples


def worker_pids(root: int) -> list[int]:
    """The service starts one process, Granian; workers are forks and so share its command line."""
    _, granian, *others = tree(root)
    line = _command_line(granian)
    return [pid for pid in others if _command_line(pid) == line]


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _growth(samples: Samples, first_s: float, seconds: float) -> list[dict[str, float]]:
    """Of every worker that lived to the end: the medians of a few samples then and now."""
    at = round(len(samples) * first_s / seconds)
    then, now = samples[at : at + _END_SAMPLES], samples[-_END_SAMPLES:]
    found = []
    for pid in now[-1]:
        first = statistics.median(sample[pid] for sample in then if pid in sample)
        last = statistics.median(sample[pid] for sample in now if pid in sample)
        found.append({"first_bytes": first, "last_bytes": last, "ratio": round(last / first, 4)})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "soak.json")
    args = parser.parse_args()
    folder = short_directory()
    try:
        with EmbeddedStack(folder / "stack", durable=False) as stack:
            result = soak(stack, folder, args.minutes * 60, args.users, args.workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    args.output.parent.mkdir(exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(soak_table(result))
    grown = [worker["ratio"] for worker in result["workers"] if worker["ratio"] > MOST]
    if args.minutes >= _TELLING_MINUTES and grown:
        print(f"memory grew by more than {MOST}: {grown}")
        return 1
    return 1 if result["failures"] or result["replaced"] else 0


if __name__ == "__main__":
    sys.exit(main())
