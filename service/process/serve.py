"""``hotshelf serve``: the parent of Granian, which drains, stops and restarts it.

Granian alone closes its listener the moment SIGTERM arrives, and ends for good when a worker dies
twice within seconds. This process sets the drain flag before it passes SIGTERM on, and restarts
Granian when that ends by itself.
"""

import contextlib
import dataclasses
import importlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from service.observe.logs import granian_config
from service.process import drain, kept_numbers, worker_board
from service.process.drain import DrainFlag
from service.process.kept_numbers import KeptNumbers
from service.process.parent_death import STOP_SIGNALS, die_with_parent
from service.process.worker_board import WorkerBoard

logger = logging.getLogger(__name__)

# After so many ends in a row, each within _QUICK_S of the start, it is not restarted.
_MAX_QUICK_ENDINGS = 5
_QUICK_S = 30.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0
_POLL_S = 0.05
# `-P`, because a module in the working directory must not shadow ours.
_GRANIAN = [
    sys.executable,
    "-P",
    "-c",
    "from service.process.serve import run_granian; run_granian()",
]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where and how to serve. ``port`` 0 is not supported, because each worker would get its own.

    ``drain_s`` is how long answers carry ``Connection: close`` before the listener closes,
    ``grace_s`` how long running requests may take after that. ``app_target`` is
    ``module:attribute`` of an ``http.rsgi.Application``.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    drain_s: float = 0.0
    grace_s: float = 30.0
    idle_timeout_s: float = 60.0
    app_target: str = "service.app:application"
    log_level: str = "info"
    log_format: str = ""


class AddressUnusable(OSError):
    """The address cannot be used; the message says why."""


def serve(options: ServeOptions, on_listening: Callable[[], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; a second signal ends the wait and kills running requests.

    Returns the exit status: 0, or 1 when a request had to be cut or Granian kept ending by
    itself. ``on_listening`` is called once connections are accepted. To be called from the
    main thread; the workers get this process's environment. Raises AddressUnusable.
    """
    # Bound here first, because Granian (SO_REUSEPORT) would share the port with another process.
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        socket.create_server((options.host, options.port), family=family).close()
    except OSError as error:
        where = f"{options.host} port {options.port}"
        raise AddressUnusable(f"cannot listen on {where}: {error.strerror or error}") from None
    with (
        contextlib.closing(DrainFlag.create()) as flag,
        contextlib.closing(WorkerBoard.create()) as board,
        contextlib.closing(KeptNumbers.create()) as kept,
        _signals() as signals,
    ):
        shared = {
            drain.ENV_NAME: flag.path,
            kept_numbers.ENV_NAME: kept.path,
            worker_board.ENV_NAME: board.path,
        }
        return _Parent(options, flag, shared, signals, on_listening).run()


class _Event(Enum):
    SIGNAL = auto()
    ENDED = auto()
    TIMEOUT = auto()


class _Parent:
    """One run of ``process.serve``: starts Granian, waits, restarts it, stops it."""

    def __init__(
        self,
        options: ServeOptions,
        flag: DrainFlag,
        shared: Mapping[str, str],
        signals: socket.socket,
        on_listening: Callable[[], None] | None,
    ) -> None:
        self._options = options
        self._flag = flag
        # The environment variables that name the workers' shared memory.
        self._shared = shared
        self._signals = signals
        self._on_listening = on_listening

    def run(self) -> int:
        quick_endings = 0
        while True:
            child = self._start()
            started = time.monotonic()
            try:
                event = self._announce(child)
            except BaseException:
                _reap(child)
                raise
            if event is _Event.TIMEOUT:
                event = self._wait(child, None)
            if event is _Event.SIGNAL:
                return self._stop(child)
            status = _reap(child)
            quick_endings = quick_endings + 1 if time.monotonic() - started < _QUICK_S else 1
            if quick_endings == _MAX_QUICK_ENDINGS:
                logger.error("Granian keeps ending by itself (status %s), giving up", status)
                return 1
            pause_s = min(_FIRST_PAUSE_S * 2 ** (quick_endings - 1), _LONGEST_PAUSE_S)
            logger.error("Granian ended by itself (status %s), again in %g s", status, pause_s)
            if self._wait(None, pause_s) is _Event.SIGNAL:
                return 0

    def _start(self) -> subprocess.Popen[bytes]:
        """In a session of its own, so that the terminal's Ctrl-C reaches only this process."""
        arguments = json.dumps(dataclasses.asdict(self._options))
        return subprocess.Popen(
            [*_GRANIAN, arguments, str(os.getpid())],
            env=os.environ | dict(self._shared),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _announce(self, child: subprocess.Popen[bytes]) -> _Event:
        """Call ``on_listening`` once per run; TIMEOUT if nothing else happened."""
        while self._on_listening is not None:
            event = self._wait(child, _POLL_S)
            if event is not _Event.TIMEOUT:
                return event
            with contextlib.suppress(OSError):
                socket.create_connection((self._options.host, self._options.port), 1).close()
                on_listening, self._on_listening = self._on_listening, None
                on_listening()
        return _Event.TIMEOUT

    def _stop(self, child: subprocess.Popen[bytes]) -> int:
        self._flag.set()
        if self._options.drain_s > 0:
            logger.info("draining for %g s", self._options.drain_s)
            self._wait(child, self._options.drain_s)
        child.terminate()
        event = self._wait(child, self._options.grace_s)
        if event is not _Event.ENDED:
            logger.warning("requests still run and are cut off")
        # -SIGTERM: Granian had not installed its handlers, so no request was running.
        harmless = _reap(child) in (0, -signal.SIGTERM)
        return 0 if event is _Event.ENDED and harmless else 1

    def _wait(self, child: subprocess.Popen[bytes] | None, timeout_s: float | None) -> _Event:
        with contextlib.ExitStack() as stack:
            readable: list[Any] = [self._signals]
            if child is not None:
                ending = os.pidfd_open(child.pid)
                stack.callback(os.close, ending)
                readable.append(ending)
            ready, _, _ = select.select(readable, [], [], timeout_s)
        if self._signals in ready:
            self._signals.recv(1)
            return _Event.SIGNAL
        return _Event.ENDED if ready else _Event.TIMEOUT


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """SIGTERM and SIGINT as bytes on a socket, so that none is lost between two waits."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    previous_fd = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    previous = [signal.signal(number, lambda *_: None) for number in STOP_SIGNALS]
    try:
        yield reading
    finally:
        for number, action in zip(STOP_SIGNALS, previous, strict=True):
            signal.signal(number, action)
        signal.set_wakeup_fd(previous_fd)
        reading.close()
        writing.close()


def _reap(child: subprocess.Popen[bytes]) -> int:
    """Kill the rest of Granian's session; returns its exit status as Popen gives it.

    The group is killed before its leader is waited for, because its id could be reused afterwards.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def run_granian() -> None:
    """The child process: Granian with our options (argv: JSON of ServeOptions, parent's pid)."""
    options = ServeOptions(**json.loads(sys.argv[1]))
    die_with_parent(int(sys.argv[2]), signal.SIGTERM)
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    server = Granian(
        target=options.app_target,
        address=socket.gethostbyname(options.host) if ":" not in options.host else options.host,
        port=options.port,
        workers=options.workers,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=4096,
        # It counts idle connections too, so with a low value they would starve health checks.
        backpressure=16384,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(options.idle_timeout_s * 1000), max_buffer_size=65536
        ),
        respawn_failed_workers=True,
        # Longer than our grace time, because otherwise Granian would cut requests off unnoticed.
        workers_kill_timeout=int(options.grace_s) + 5,
        log_level=LogLevels(options.log_level),
        log_dictconfig=granian_config(options.log_format),
    )
    server.serve(target_loader=_load)


def _load(target: str) -> Any:
    """The object ``module:attribute``, without Granian's own search of the working directory.

    Granian calls it first in each worker. Signals would be lost from then until the event loop
    runs, so they are blocked; ``Application.__rsgi_init__`` unblocks them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
