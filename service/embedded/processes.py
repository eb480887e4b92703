"""Starts, finds, freezes and ends the stack's server processes.

Linux only. Every process has its own session, so that Ctrl-C in the terminal does not reach it, and
a parent-death signal, so that a killed parent leaves no process behind. Started by root, servers
run as ``nobody``; they enter their directory before root is dropped and name it ``/proc/self/cwd``,
so that user needs no access to the directories above.
"""

import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

LAUNCHER = Path(__file__).with_name("launch.py")
LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral range, so that no outgoing connection takes a stopped server's port.
PORTS = range(20_000, 32_000)
POLL_S = 0.01
READY_POLLS = 12_000
STOP_S = 20.0

# One thread spawns for all others and lives as long as the interpreter, because the kernel sends
# the death signal when the spawning *thread* ends.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-spawner")


class StackError(Exception):
    """An operation of the development stack failed; the text is one line for the terminal."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that servers run as."""

    uid: int
    gid: int


def server_account() -> Account:
    """The caller's own account, or ``nobody`` for root, because PostgreSQL refuses to run as root.

    Raises StackError where there is no such account.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StackError("as root the servers run as user nobody, which does not exist") from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def spawn(
    command: list[str],
    *,
    directory: Path,
    account: Account,
    log: Path,
    death_signal: int = signal.SIGKILL,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in ``directory``; its output is appended to ``log``.

    The caller owns the process. It inherits the environment except PostgreSQL's client variables,
    which would redirect it, and this service's settings.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "HOTSHELF_"))}
    numbers = (account.uid, account.gid, os.getpid(), int(death_signal))
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), *(str(number) for number in numbers)]
    with log.open("ab") as output:
        return _SPAWNER.submit(
            subprocess.Popen,
            [*launcher, *command],
            cwd=directory,
            env={**kept, "LC_ALL": "C", **(environment or {})},
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ).result()


class Instance(NamedTuple):
    """Where a server runs, and as which user.

    ``mark`` occurs in the command line of each of its processes and of no other, because reading
    another user's ``/proc/PID/cwd`` needs a capability that containers lack.
    """

    directory: Path
    log: Path
    mark: str
    port: int
    password: str
    account: Account


class Server:
    """A server of the stack; subclasses define how it starts and when it is ready."""

    stop_signal = signal.SIGTERM

    def __init__(self, instance: Instance) -> None:
        self.name = instance.directory.name
        self.directory = instance.directory
        self.log = instance.log
        self.mark = instance.mark
        self.port = instance.port
        self.account = instance.account
        self._password = instance.password
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        raise NotImplementedError

    def await_ready(self) -> None:
        """Block until it accepts connections; StackError with the end of its log if it dies."""
        await_true(lambda: self._running() and self.is_ready(), f"{self.name} does not get ready")

    def pids(self) -> list[int]:
        """Its living processes, the main one first, then by number."""
        first = self.process.pid if self.process else 0
        return sorted(pids_marked(self.mark), key=lambda pid: (pid != first, pid))

    def kill(self) -> None:
        """End all its processes by SIGKILL, as a crash would; no effect when none runs."""
        end_leftovers(self.mark)
        self._reap()

    def pause(self) -> None:
        """Freeze it with SIGSTOP: connections stay open but get no answer."""
        # Twice, because the main process may have forked between the listing and its own freeze.
        send(signal.SIGSTOP, self.pids())
        send(signal.SIGSTOP, self.pids())

    def resume(self) -> None:
        """Undo :meth:`pause`."""
        send(signal.SIGCONT, reversed(self.pids()))

    def restart(self) -> None:
        """Shut it down if it runs, start it on the same port, and wait until it is ready."""
        self.ask_to_stop()
        self.await_stopped()
        self.spawn()
        self.await_ready()

    def ask_to_stop(self) -> None:
        """Begin an orderly shutdown, even of a frozen server."""
        if self.process is not None and self.process.poll() is None:
            self.resume()
            send(self.stop_signal, [self.process.pid])

    def await_stopped(self) -> None:
        """Wait for the shutdown; kill processes that do not end within ``STOP_S`` seconds."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        self.kill()

    def _reap(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _running(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise StackError(f"{self.name} did not start: {last_lines(self.log)}")
        return True


def await_true(condition: Callable[[], bool], complaint: str, polls: int = READY_POLLS) -> None:
    """Poll every 10 ms until true; StackError with ``complaint`` after ``polls`` times."""
    for _ in range(polls):
        if condition():
            return
        time.sleep(POLL_S)
    raise StackError(complaint)


def send(signal_number: int, pids: Iterable[int]) -> int:
    """Signal each process; returns how many existed."""
    reached = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal_number)
            reached += 1
    return reached


def pids_marked(mark: str) -> list[int]:
    """Processes with ``mark`` in their command line; zombies have no command line."""
    wanted, found = mark.encode(), []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in Path(entry.path, "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def end_leftovers(mark: str) -> None:
    """End the processes with ``mark`` by SIGKILL and wait until all are gone."""
    await_true(lambda: not send(signal.SIGKILL, pids_marked(mark)), f"{mark} does not die")


def last_lines(log: Path) -> str:
    """The end of a log as one line."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return " | ".join(lines[-3:]) or f"see {log}"


def make_directory(path: Path, account: Account) -> Path:
    """Create a directory that only ``account`` can access, unless it exists."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(path, account.uid, account.gid)
    return path


def write_private(path: Path, text: str, account: Account) -> None:
    """Replace a file atomically, readable only by ``account``; never follows a symbolic link."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        os.fchown(descriptor, account.uid, account.gid)
        file.write(text)
    fresh.replace(path)


def free_port(preferred: int | None, taken: set[int]) -> int:
    """``preferred`` if no process listens there, else another port; adds it to ``taken``.

    Raises StackError if none is free.
    """
    candidates = [preferred] if preferred else []
    for port in [*candidates, *random.sample(PORTS, 1_000)]:
        if port not in taken and _can_listen(port):
            taken.add(port)
            return port
    raise StackError(f"no free port from {PORTS.start} to {PORTS.stop}")


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
