"""One PostgreSQL node of the stack: a shard's primary or a streaming replica of it."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import psycopg

from service.embedded.processes import (
    LOOPBACK,
    Instance,
    Server,
    StackError,
    await_true,
    last_lines,
    make_directory,
    spawn,
    write_private,
)

USER = "hotshelf"
# A magic link to the directory a process is in: it leads there even when a directory above is
# closed to the process's user, where an absolute path (and so `-D .`, made absolute) does not.
HERE = "/proc/self/cwd"
STREAMING_POLLS = 500

CONFIGURATION = """\
# Written by hotshelf at each start; changes belong in ALTER SYSTEM.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 100
shared_buffers = 64MB
wal_level = replica
wal_keep_size = 1GB
# The default of 5 s would be the wait of a replica that comes up before its primary.
wal_retrieve_retry_interval = 100ms
hot_standby = on
hot_standby_feedback = on
# Files in the data directory: /dev/shm is 64 MB in many containers and keeps what a kill leaves.
dynamic_shared_memory_type = mmap
max_logical_replication_workers = 0
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
"""
# Data survive a kill of any process, but not a power cut.
NOT_DURABLE = "full_page_writes = off\n"


class PostgresNode(Server):
    """A PostgreSQL server with a data directory and a port of its own.

    ``primary`` is the node it streams from, None for a primary. The superuser is ``hotshelf``,
    the database ``postgres``, over loopback TCP with a password.
    """

    stop_signal = signal.SIGINT

    def __init__(self, instance: Instance, *, binaries: Path, durable: bool) -> None:
        super().__init__(instance)
        self.binaries = binaries
        self.durable = durable
        self.primary: PostgresNode | None = None

    @property
    def url(self) -> str:
        """Holds the password: never print it."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/postgres"

    @property
    def is_complete(self) -> bool:
        """Whether the data directory is there and is of this node's role.

        A replica that was promoted holds writes that its primary never saw: no longer a copy.
        """
        copy = (self.directory / "standby.signal").exists()
        return is_cluster(self.directory) and copy is (self.primary is not None)

    def begin_creation(self) -> "Creation":
        """Start initdb, or pg_basebackup from the running primary, beside the final directory."""
        parent, name = self.directory.parent, self.directory.name
        for unfinished in parent.glob(f"{name}.unfinished-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}.unfinished-", dir=parent))
        make_directory(scratch, self.account)
        if self.primary is None:
            with self._password_file() as file:
                process = self._run(scratch, self._initdb(), stdin=file)
        else:
            process = self._run(
                scratch, self._basebackup(self.primary), {"PGPASSWORD": self._password}
            )
        return Creation(self, scratch, process)

    def spawn(self) -> None:
        """Start the process without waiting for it; what is left of an earlier one is ended."""
        self.kill()
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        write_private(self.directory / "postgresql.conf", self._configuration(), self.account)
        self.process = spawn(
            [*self._program("postgres"), "-c", f"cluster_name={self.mark}"],
            directory=self.directory,
            account=self.account,
            log=self.log,
            death_signal=signal.SIGQUIT,
        )

    def is_ready(self) -> bool:
        """Whether it takes connections, as it says itself in the last line of its pid file."""
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        own = self.process is not None and lines[:1] == [str(self.process.pid)]
        return own and len(lines) > 7 and lines[7].strip() == "ready"

    def streams(self) -> bool:
        """Whether this replica comes to receive its primary's log; waits up to 5 s for it."""
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                await_true(
                    lambda: (
                        connection.execute(
                            "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"
                        ).fetchone()
                        is not None
                    ),
                    f"{self.name} does not stream",
                    STREAMING_POLLS,
                )
        except StackError:
            return False
        return True

    def promote(self) -> None:
        """Make this replica a primary; returns when it takes writes."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote(true, 60)")
        self.primary = None

    def rejoin(self, primary: "PostgresNode") -> None:
        """Throw this node's data away and stream from ``primary``, which runs, as a new copy."""
        self.ask_to_stop()
        self.await_stopped()
        self.primary = primary
        self.begin_creation().finish()
        self.spawn()
        self.await_ready()

    def _configuration(self) -> str:
        text = CONFIGURATION.format(host=LOOPBACK, port=self.port)
        if not self.durable:
            text += NOT_DURABLE
        if self.primary is not None:
            source = (
                f"host={LOOPBACK} port={self.primary.port} user={USER}"
                f" password={self._password} application_name={self.name}"
            )
            text += f"primary_conninfo = '{source}'\n"
        return text

    def _initdb(self) -> list[str]:
        # Locale C: text sorts by code point, as jsonb and the cursors of lists expect.
        return [
            *self._program("initdb"),
            *("--username", USER, "--encoding", "UTF8", "--locale", "C"),
            *("--auth", "scram-sha-256", "--pwfile", "/proc/self/fd/0", "--no-instructions"),
        ]

    def _basebackup(self, primary: "PostgresNode") -> list[str]:
        return [
            *self._program("pg_basebackup"),
            *("--host", LOOPBACK, "--port", str(primary.port), "--username", USER),
            *("--checkpoint", "fast", "--wal-method", "stream", "--no-password"),
        ]

    def _program(self, name: str) -> list[str]:
        return [str(self.binaries / name), "-D", HERE]

    def _run(
        self,
        directory: Path,
        command: list[str],
        environment: dict[str, str] | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        return spawn(
            command if self.durable else [*command, "--no-sync"],
            directory=directory,
            account=self.account,
            log=self.log,
            stdin=stdin,
            environment=environment,
        )

    def _password_file(self) -> IO[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # handed to the caller, who closes it
        os.fchown(file.fileno(), self.account.uid, self.account.gid)
        file.write(self._password.encode() + b"\n")
        file.seek(0)
        return file


def is_cluster(directory: Path) -> bool:
    """Whether this is a data directory that a server could start in."""
    return (directory / "global/pg_control").exists()


def timeline(directory: Path) -> int:
    """The timeline that the cluster is on; 1 until a first promotion.

    The history file is written at the promotion itself, while the control file names the new
    timeline only after the next checkpoint.
    """
    histories = (directory / "pg_wal").glob("????????.history")
    return max((int(file.stem, 16) for file in histories), default=1)


class Creation:
    """A data directory being made, beside its final place so that half of one is never used."""

    def __init__(self, node: PostgresNode, scratch: Path, process: subprocess.Popen[bytes]) -> None:
        self.node = node
        self.scratch = scratch
        self.process = process

    def finish(self) -> None:
        """Wait and move the directory to its place, over an older one; StackError on failure."""
        node = self.node
        if self.process.wait() != 0:
            shutil.rmtree(self.scratch, ignore_errors=True)
            # PostgreSQL before 16 leaves its directory for a moment and returns by its full path.
            if "could not change directory to" in node.log.read_text(errors="replace"):
                raise StackError(
                    f"user id {node.account.uid} cannot enter {node.directory.parent}, which"
                    " PostgreSQL before 16 needs: choose another directory or a newer PostgreSQL"
                )
            raise StackError(f"{node.name} cannot be created: {last_lines(node.log)}")
        if node.primary is not None:
            write_private(self.scratch / "standby.signal", "", node.account)
        shutil.rmtree(node.directory, ignore_errors=True)
        self.scratch.rename(node.directory)

    def abandon(self) -> None:
        """End the making of it and remove what there is; harmless after :meth:`finish`."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)
