"""Shared memory in which each worker publishes bytes for the others and for its successor.

The memory belongs to the parent process, so it outlives workers: a worker takes the lowest free
slot, reads what its predecessor wrote last, and is known by the slot's number. Like the drain
flag's memory it is anonymous, so a killed process leaves no file behind.
"""

import fcntl
import os
import secrets
import time
import zlib
from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

ENV_NAME = "HOTSHELF_BOARD_FILE"

# More than http.workers allows, because a worker may start before its predecessor has ended. Only
# written pages take memory.
_SLOTS = 320
_SLOT_BYTES = 1 << 20
_SALT_BYTES = 32
# The first slot is for data of the whole host.
_SHARED = 0
_HEAD_BYTES = 16
# struct flock: type, whence, start, length, process.
_LOCK = Struct("hhqqi4x")
# A reader that meets a half-written slot reads again.
_READ_ATTEMPTS = 5
# A worker that has not written for so long has ended or hangs.
_SILENT_NS = 5_000_000_000


class Snapshot(NamedTuple):
    """What a worker wrote last; ``alive`` if that is recent."""

    text: bytes
    alive: bool


class WorkerBoard:
    """The board, open in one process; open it at most once per process."""

    def __init__(self, descriptor: int) -> None:
        """``descriptor`` is the shared memory's; this object closes it."""
        self._descriptor = descriptor
        self._slot = -1

    @classmethod
    def create(cls) -> "WorkerBoard":
        """An empty board; its ``path`` is valid as long as this process keeps it open."""
        descriptor = os.memfd_create("hotshelf-board")
        os.truncate(descriptor, (_SLOTS + 1) * _SLOT_BYTES)
        os.pwrite(descriptor, secrets.token_bytes(_SALT_BYTES), _SLOTS * _SLOT_BYTES)
        return cls(descriptor)

    @classmethod
    def inherited(cls, env: Mapping[str, str]) -> "WorkerBoard":
        """The board that the parent named in the environment, else a new one of this process."""
        return cls(os.open(env[ENV_NAME], os.O_RDWR)) if ENV_NAME in env else cls.create()

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @property
    def salt(self) -> bytes:
        """Random bytes that all workers of this service share until it restarts."""
        return os.pread(self._descriptor, _SALT_BYTES, _SLOTS * _SLOT_BYTES)

    @property
    def number(self) -> int:
        """The worker's number, from 0; no two living workers have the same."""
        return self._slot - 1

    def take_slot(self) -> bytes | None:
        """Take the lowest free slot; returns what was last written there, or None.

        The kernel frees the slot when this process ends, even if killed. Raises RuntimeError if
        none is free.
        """
        for slot in range(1, _SLOTS):
            # Advisory, so that it stops no reader, and of the open file description: a lock of the
            # process would be lost as soon as any descriptor of the board is closed.
            lock = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0)
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, lock)
            except OSError:
                continue
            self._slot = slot
            found = self._read(slot)
            return None if found is None else found.text
        raise RuntimeError("there are more workers than slots on the board")

    def write(self, text: bytes) -> None:
        """Replace what others read from this worker. Raises ValueError if it does not fit."""
        self._write(self._slot, text)

    def snapshots(self) -> dict[int, Snapshot]:
        """What every worker wrote last, by its number; workers that have ended are included."""
        found = ((slot - 1, self._read(slot)) for slot in range(1, _SLOTS))
        return {number: snapshot for number, snapshot in found if snapshot is not None}

    def write_shared(self, text: bytes) -> None:
        """Replace the host's data; only worker 0 may call it."""
        self._write(_SHARED, text)

    def shared(self) -> bytes | None:
        found = self._read(_SHARED)
        return None if found is None else found.text

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, slot: int, text: bytes) -> None:
        if len(text) + _HEAD_BYTES > _SLOT_BYTES:
            raise ValueError("the snapshot is larger than a slot on the board")
        checked = time.monotonic_ns().to_bytes(8) + text
        head = len(text).to_bytes(4) + zlib.crc32(checked).to_bytes(4)
        os.pwrite(self._descriptor, head + checked, slot * _SLOT_BYTES)

    def _read(self, slot: int) -> Snapshot | None:
        """None if the slot is empty or was half-written at each attempt."""
        for _ in range(_READ_ATTEMPTS):
            head = os.pread(self._descriptor, _HEAD_BYTES, slot * _SLOT_BYTES)
            length = int.from_bytes(head[:4])
            at = slot * _SLOT_BYTES + _HEAD_BYTES - 8
            if not length:
                return None
            checked = os.pread(self._descriptor, 8 + min(length, _SLOT_BYTES), at)
            if zlib.crc32(checked) == int.from_bytes(head[4:8]):
                written_ns = int.from_bytes(checked[:8])
                return Snapshot(checked[8:], time.monotonic_ns() - written_ns < _SILENT_NS)
        return None
