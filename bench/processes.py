"""Server processes of a benchmark: started, waited for, stopped by their id, CPU time read."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_POLL_S = 0.05
_POLLS = 400


@dataclass(frozen=True)
class Server:
    """A listening server. ``pid`` is the root of its process tree."""

    name: str
    port: int
    pid: int


@contextlib.contextmanager
def started(
    name: str, port: int, arguments: list[str], folder: Path, env: Mapping[str, str]
) -> Iterator[Server]:
    """Run it until the block ends. Raises RuntimeError with its log when it does not listen."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_listening(process, port, log)
        yield Server(name, port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(_POLLS):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_POLL_S)
    raise RuntimeError(f"it does not listen:\n{log.read_text()[-2000:]}")


def tree(root: int) -> list[int]:
    """The process and all that descend from it, as /proc shows them now."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children.setdefault(int(_stat(pid)[1]), []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_s(root: int) -> float:
    """User and system time of the tree so far, in seconds; resolution one clock tick."""
    ticks = 0
    for pid in tree(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = _stat(pid)
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Memory of one process that is in RAM, shared pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> tuple[int, int]:
    """How many files one process has open, and how many of them are sockets."""
    files = list(Path(f"/proc/{pid}/fd").iterdir())
    links = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.append(file.readlink())
    return len(links), sum(str(link).startswith("socket:") for link in links)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Fields of proc(5) stat from the third on: the second may hold blanks and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
