"""What a stack's directory remembers between starts, and whether one runs there now."""

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service.embedded.processes import Account, StackError, write_private


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a running stack is. The URLs hold passwords: never print them.

    ``shards`` has one list of PostgreSQL URLs per shard, its primary first, then its replicas.
    """

    shards: list[list[str]]
    redis_url: str


@dataclass(slots=True)
class State:
    """What a data directory remembers, so that a second start serves at the same URLs."""

    shards: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    # Part of the title of each server process, by which left ones are found.
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
    """Make the directory and reserve it for this process, until the descriptor is closed.

    The kernel closes it when the process ends, so no lock is ever left behind. Raises StackError if
    the directory cannot be used or another process has it.
    """
    try:
        # Traversable, since PostgreSQL before 16 looks its directory up from the root (as root's
        # nobody, too); all that is in it is private by itself.
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
            # Shared, so that two who ask at once do not take each other for a stack.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_state(data_dir: Path, shards: int) -> State:
    """What the directory remembers, or a new state; StackError if it was made for others."""
    path = data_dir / "state.json"
    if not path.exists():
        return State(shards)
    # Its secrets would go to whoever starts the stack next, and the first could not read them.
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
    """Remember ``state``, readable by the caller alone."""
    owner = Account(os.geteuid(), os.getegid())
    write_private(data_dir / "state.json", json.dumps(asdict(state), indent=2), owner)
