"""Where and with what a result was measured."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_PACKAGES = ("granian", "uvloop", "robyn", "hiredis", "redis", "fastapi", "uvicorn")
_PROGRAMS = {
    "wrk": ["wrk", "-v"],
    "nginx": ["nginx", "-v"],
    "go": ["go", "version"],
    "webdis": ["dpkg-query", "--show", "--showformat=${Version}", "webdis"],
}
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
        "revision": _output(["git", "describe", "--always", "--dirty"]).strip() or None,
        "versions": _versions(),
    }


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
