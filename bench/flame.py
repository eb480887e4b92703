"""Flame graphs of one worker under load: ``make flame``, or ``python -m bench.flame``.

perf sees every thread, native and kernel frames, but of Python only its interpreter; py-spy
names the Python functions too, and stops the worker for each of its samples. Each that works
here leaves its picture in bench/results. The native crate has line tables in its release
profile, so no build of its own is needed.
"""

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.end_to_end import RESULTS
from bench.flame_svg import flame_svg
from bench.load import build_pacer, pacer_command
from bench.processes import Server, cpu_s, tree
from bench.servers import NEAR_CACHE_OFF, has_near_cache, ours, server_of
from bench.workload import READER, fill, write_requests
from service.embedded import EmbeddedStack
from tests.fixtures.stack import short_directory

_WARM_UP_S = 2.0
# Not a round number, so that it does not beat with timers of the service.
_PERF_HZ, _PY_SPY_HZ = 297, 97
_STACK_BYTES = 16_384
_FRAME = re.compile(r"\s+[0-9a-f]+ (.*) \((.*)\)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of sampling, for each tool")
    parser.add_argument("--read", choices=["near", "redis"], default="redis")
    parser.add_argument("--size", type=int, default=2000, help="bytes of a body")
    parser.add_argument("--items", type=int, default=1000)
    args = parser.parse_args()
    off = {NEAR_CACHE_OFF: "0"} if args.read == "redis" and has_near_cache() else {}
    folder = short_directory()
    RESULTS.mkdir(exist_ok=True)
    try:
        with (
            EmbeddedStack(folder / "stack", durable=False) as stack,
            ours(stack, folder, **off) as service,
        ):
            workload = fill(service, args.size, args.items)
            token = service.token(READER, "items:read")
            targets = [f"/v1/items/{item_id}" for item_id in workload.ids]
            requests = write_requests(folder / "requests", token, targets)
            for name in RECORDERS:
                picture = RESULTS / f"flame-{args.read}-{name}.svg"
                why_not = _record(name, server_of(service), requests, args.seconds, picture)
                print(f"{name}: {why_not or picture}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _record(name: str, server: Server, requests: Path, seconds: int, picture: Path) -> str | None:
    """Sample under load. Why there is no picture, or None."""
    load = _start_load(server.port, requests, seconds)
    try:
        time.sleep(_WARM_UP_S)
        worker = _busiest(tree(server.pid))
        return RECORDERS[name](worker, seconds, picture, requests.parent)
    finally:
        load.terminate()
        load.wait()


def _start_load(port: int, requests: Path, seconds: int) -> subprocess.Popen[bytes]:
    """More than long enough; the caller ends it."""
    command = pacer_command(build_pacer(), port, requests, seconds * 3 + 30)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _busiest(pids: Iterable[int]) -> int:
    """The worker is the process that burns the time, not one of its parents."""
    alone = {pid: cpu_s(pid) - sum(cpu_s(child) for child in tree(pid)[1:]) for pid in pids}
    return max(alone, key=lambda pid: alone[pid])


def _perf(worker: int, seconds: int, picture: Path, folder: Path) -> str | None:
    """Why there is no picture, or None."""
    if shutil.which("perf") is None:
        return "perf is not installed (Debian: apt-get install linux-perf)"
    data = folder / "perf.data"
    command = ["perf", "record", "-e", "cpu-clock", "-F", str(_PERF_HZ), "-o", str(data)]
    command += ["--call-graph", f"dwarf,{_STACK_BYTES}", "-p", str(worker)]
    recorded = subprocess.run(
        [*command, "--", "sleep", str(seconds)], capture_output=True, text=True, check=False
    )
    if recorded.returncode:
        return f"perf does not work here: {recorded.stderr.strip()[-300:]}"
    script = ["perf", "script", "-i", str(data), "--no-inline", "-F", "comm,tid,ip,sym,dso"]
    done = subprocess.run(script, capture_output=True, text=True, errors="replace", check=False)
    stacks = stacks_of(done.stdout)
    if not stacks:
        return f"perf saw nothing: {done.stderr.strip()[-300:]}"
    picture.write_text(flame_svg(stacks, f"perf, worker under load, {seconds} s"))
    return None


def stacks_of(script: str) -> dict[tuple[str, ...], int]:
    """Samples by stack, outermost first, from the text of ``perf script``."""
    counts: dict[tuple[str, ...], int] = {}
    for sample in script.split("\n\n"):
        head, *frames = sample.strip("\n").split("\n")
        names = [_name(*found.groups()) for frame in frames if (found := _FRAME.match(frame))]
        if names:
            # Code without symbols shows as its file, once, however deep it went.
            calls = [name for name, _ in itertools.groupby(reversed(names))]
            stack = (" ".join(head.split()), *calls)
            counts[stack] = counts.get(stack, 0) + 1
    return counts


def _name(symbol: str, file: str) -> str:
    if file.startswith("[kernel"):
        return f"{symbol} [k]"
    return symbol if symbol != "[unknown]" else Path(file).name


def _py_spy(worker: int, seconds: int, picture: Path, _folder: Path) -> str | None:
    """Why there is no picture, or None."""
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        return "py-spy is not installed (pip install -e '.[bench]')"
    command = [program, "record", "--native", "--rate", str(_PY_SPY_HZ), "--pid", str(worker)]
    command += ["--duration", str(seconds), "--format", "flamegraph", "--output", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"py-spy does not work here: {done.stderr.strip()[-300:]}" if done.returncode else None


Recorder = Callable[[int, int, Path, Path], str | None]
RECORDERS: dict[str, Recorder] = {"perf": _perf, "py-spy": _py_spy}


if __name__ == "__main__":
    main()
