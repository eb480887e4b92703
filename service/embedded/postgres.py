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
# A magic link to a process's working directory. It works even when the process's user cannot enter
# a directory above it, where an absolute path (and so `-D .`, which is made absolute) fails.
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
# Because a replica that starts before its primary would otherwise wait 5 s, the default.
wal_retrieve_retry_interval = 100ms
hot_standby = on
hot_standby_feedback = on
# Files in the data directory, because /dev/shm is 64 MB in many containers and a kill leaves
# segments there.
dynamic_shared_memory_type = mmap
max_logical_replication_workers = 0
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
"""
# Data survives a kill of any process, but not a power failure.
NOT_DURABLE = "full_page_writes = off\n"


class PostgresNode(Server):
    """A PostgreSQL server with its own data directory and port.

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
        """The URL; it contains the password, so never print it."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/postgres"

    @property
    def is_complete(self) -> bool:
        """Whether the data directory exists and has this node's role.

        A promoted replica has writes that its primary does not have, so it is no longer a copy.
        """
        copy = (self.directory / "standby.signal").exists()
        return is_cluster(self.directory) and copy is (self.primary is not None)

    def begin_creation(self) -> "Creation":
        """Start initdb, or pg_basebackup from the running primary, in a temporary sibling
        directory.
        """
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
        """Start the process without waiting for it; leftovers of an earlier one are killed."""
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
        """Whether it accepts connections, from the last line of its pid file."""
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        own = self.process is not None and lines[:1] == [str(self.process.pid)]
        return own and len(lines) > 7 and lines[7].strip() == "ready"

    def streams(self) -> bool:
        """Whether this replica receives its primary's WAL; waits up to 5 s for it."""
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
        """Promote this replica; returns when it accepts writes."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote(true, 60)")
        self.primary = None

    def rejoin(self, primary: "PostgresNode") -> None:
        """Replace this node's data by a copy of ``primary``, which must be running, and stream from
        it.
        """
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
        # Locale C, because jsonb and list cursors expect text to sort by code point.
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
    """Whether this is a complete data directory."""
    return (directory / "global/pg_control").exists()


def timeline(directory: Path) -> int:
    """The cluster's timeline; 1 until the first promotion.

    From the history files, which a promotion writes at once; the control file has the new timeline
    only after the next checkpoint.
    """
    histories = (directory / "pg_wal").glob("????????.history")
    return max((int(file.stem, 16) for file in histories), default=1)


class Creation:
    """A data directory being created under another name, so that a partial one is never used."""

    def __init__(self, node: PostgresNode, scratch: Path, process: subprocess.Popen[bytes]) -> None:
        self.node = node
        self.scratch = scratch
        self.process = process

    def finish(self) -> None:
        """Wait, and move the directory to its final path over an older one. Raises StackError."""
        node = self.node
        if self.process.wait() != 0:
            shutil.rmtree(self.scratch, ignore_errors=True)
            # PostgreSQL before 16 leaves its directory and returns to it by its absolute path.
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
        """Stop the creation and remove partial files; no effect after :meth:`finish`."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)
