"""Where and with what a result was measured.

``python -m bench.machine`` refuses a tree with changes, and prints what others do on the machine.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
_PACKAGES = ("granian", "uvloop", "robyn", "hiredis", "redis", "fastapi", "uvicorn")
_PROGRAMS = {
    "nginx": ["nginx", "-v"],
    "go": ["go", "version"],
    "webdis": ["dpkg-query", "--show", "--showformat=${Version}", "webdis"],
}
# What a report writes does not make the code that was measured another one.
_WRITTEN = [":!bench/results", ":!docs/performance.md"]
_BEFORE_S, _SAMPLE_S = 1.0, 5.0
# Above these a figure says as much about what else the machine did.
QUIET_STEAL = 0.01
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+~-]*")


def describe() -> dict[str, object]:
    """Processor, memory, kernel, load before the run, and every version that matters."""
    return {
        "processor": _first(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo")) or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        # The Makefile's stamp; a quick build is slower, so no figure of one belongs in a document.
        "native": "release" if Path(sys.prefix, ".installed-release").exists() else "quick build",
        "revision": revision(),
        "versions": _versions(),
    }


def revision() -> str | None:
    """The commit, or the tag and how far it is back, with "-dirty" unless all is committed."""
    name = _git("describe", "--always", "--tags").strip()
    return f"{name}-dirty" if name and _changed() else name or None


def refuse_dirty(output: Path) -> None:
    """Raises SystemExit where figures of changed code would go into bench/results."""
    if output.resolve().parent == RESULTS and (changed := _changed()):
        raise SystemExit(f"Commit these first, or write to another place with --output:\n{changed}")


def _changed() -> str:
    return _git("status", "--porcelain", "--", ".", *_WRITTEN)


def _git(*words: str) -> str:
    """Nothing where this is no repository."""
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def watched() -> Iterator[dict[str, dict[str, float]]]:
    """What the rest of the machine does before, during and after the block, filled in at its end.

    ``steal`` is the share of CPU time that the hypervisor gave to others; ``load`` is the load
    average of a minute, during the block the highest one, which has our own load in it.
    """
    seen: dict[str, dict[str, float]] = {"before": _now(_BEFORE_S)}
    stop, loads, begun = threading.Event(), [os.getloadavg()[0]], _cpu_ticks()

    def sample() -> None:
        while not stop.wait(_SAMPLE_S):
            loads.append(os.getloadavg()[0])

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
        seen["during"] = {"steal": _steal(begun, _cpu_ticks()), "load": round(max(loads), 2)}
        seen["after"] = _now(_BEFORE_S)


def told(about: dict[str, object]) -> str:
    """The machine of a result as a clause for people; of an older one only what it has."""
    others = about.get("others")
    if not isinstance(others, dict):
        return f"load average before the run {about['load_before']}"
    return told_of(others)


def told_of(others: dict[str, dict[str, float]]) -> str:
    """What `watched` has seen, as a clause."""
    return "; ".join(
        f"{when} the run {each['steal']:.1%} of CPU time stolen, load average {each['load']}"
        for when, each in others.items()
    )


def is_busy(about: dict[str, object]) -> bool:
    """Whether others had more of the machine than a figure can bear."""
    load, cores, others = about["load_before"], about["cores"], about.get("others")
    assert isinstance(load, float | int)
    assert isinstance(cores, int)
    stolen = isinstance(others, dict) and max(each["steal"] for each in others.values())
    return load > cores / 2 or stolen > QUIET_STEAL


def _now(seconds: float) -> dict[str, float]:
    begun, load = _cpu_ticks(), os.getloadavg()[0]
    time.sleep(seconds)
    return {"steal": _steal(begun, _cpu_ticks()), "load": round(load, 2)}


def _steal(begun: list[int], ended: list[int]) -> float:
    """The eighth figure of proc(5) stat is what a hypervisor gave to others."""
    spent = [now - then for now, then in zip(ended, begun, strict=True)]
    return round(spent[7] / max(1, sum(spent)), 4)


def _cpu_ticks() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal of all cores."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for name, command in _PROGRAMS.items():
        if shutil.which(name) and (version := _VERSION.search(_output(command))):
            found[name] = version[0]
    return found


def _output(command: list[str]) -> str:
    """What it prints, on either stream; nothing if it cannot be run."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
            timeout=10,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout + done.stderr


def _first(pattern: str, path: Path) -> str | None:
    found = re.search(pattern, path.read_text()) if path.exists() else None
    return found[1].strip() if found else None


if __name__ == "__main__":
    refuse_dirty(RESULTS / "any")
    print(f"{revision()}: {told_of({'before': _now(_BEFORE_S)})}")
