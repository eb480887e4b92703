"""A stack's state between starts, and whether one is running in a directory."""

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service.embedded.processes import Account, StackError, write_private


@dataclass(frozen=True, slots=True)
class Stack:
    """The URLs of a running stack; they contain passwords, so never print them.

    ``shards`` has one list of PostgreSQL URLs per shard, its primary first, then its replicas.
    """

    shards: list[list[str]]
    redis_url: str


@dataclass(slots=True)
class State:
    """The state in a data directory, so that a second start uses the same URLs."""

    shards: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    # Part of the title of each server process, by which leftover ones are found.
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    ports: dict[str, int] = field(default_factory=dict)
    running: Stack | None = None


def find_stack(data_dir: Path) -> Stack:
    """The stack that another process runs in ``data_dir``; StackError when none does."""
    state = data_dir / "state.json"
    try:
        running = json.loads(state.read_text())["running"] if _is_locked(data_dir) else None
    except PermissionError:
        raise StackError(f"{data_dir} belongs to another user") from None
    except FileNotFoundError:
        running = None
    if running is None:
        raise StackError(f"no stack is running in {data_dir}: start one with `hotshelf run`")
    return Stack(**running)


def take_lock(data_dir: Path) -> int:
    """Create the directory and lock it for this process, until the descriptor is closed.

    The kernel closes it when the process ends, so no stale lock remains. Raises StackError if the
    directory cannot be used or is locked by another process.
    """
    try:
        # Traversable, because PostgreSQL before 16 resolves its directory from the root, also as
        # user nobody; each file in it has private permissions.
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(f"cannot use {data_dir}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StackError(f"a stack is already running in {data_dir}") from None
    return lock


def _is_locked(data_dir: Path) -> bool:
    with open(data_dir / "lock") as lock:
        try:
            # Shared, so that two concurrent checks do not take each other for a stack.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_state(data_dir: Path, shards: int) -> State:
    """The directory's state, or a new one. Raises StackError if it does not fit this stack."""
    path = data_dir / "state.json"
    if not path.exists():
        return State(shards)
    # Refused, because the other user could not read the new secrets, nor trust them.
    if path.stat().st_uid != os.geteuid():
        raise StackError(f"{data_dir} belongs to user id {path.stat().st_uid}: start it as that")
    state = State(**json.loads(path.read_text()))
    state.running = None
    if state.shards != shards:
        raise StackError(
            f"{data_dir} was made with {state.shards} shard(s), not {shards}:"
            " items cannot move between them, so choose another data directory"
        )
    return state


def write_state(data_dir: Path, state: State) -> None:
    """Store ``state``, readable only by this user."""
    owner = Account(os.geteuid(), os.getegid())
    write_private(data_dir / "state.json", json.dumps(asdict(state), indent=2), owner)
