"""What each worker of a service pins up for the others to read, and for who takes its place.

The memory belongs to the parent process, so it outlives workers: a worker takes the lowest free
place, finds there what its predecessor wrote last, and is known by the place's number. Like the
drain flag's it has no file that a killed process could leave behind.
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

# More than workers may be (http.workers), since one may start before another has ended. Only
# pages that are written take memory.
_PLACES = 320
_PLACE_BYTES = 1 << 20
_SALT_BYTES = 32
# The first place is for what is written for all.
_SHARED = 0
_HEAD_BYTES = 16
# struct flock: type, whence, start, length, process.
_LOCK = Struct("hhqqi4x")
# A reader that meets a writer half-way looks again.
_LOOKS = 5
# Who has not written for as long has ended, or hangs.
_SILENT_NS = 5_000_000_000


class Notice(NamedTuple):
    """What the worker of this number wrote last."""

    text: bytes
    alive: bool


class WorkerBoard:
    """The board as one process has it open; opened at most once in a process."""

    def __init__(self, descriptor: int) -> None:
        """``descriptor`` is the shared memory's, ours to close."""
        self._descriptor = descriptor
        self._place = -1

    @classmethod
    def create(cls) -> "WorkerBoard":
        """An empty board, whose ``path`` holds as long as this process has it open."""
        descriptor = os.memfd_create("hotshelf-board")
        os.truncate(descriptor, (_PLACES + 1) * _PLACE_BYTES)
        os.pwrite(descriptor, secrets.token_bytes(_SALT_BYTES), _PLACES * _PLACE_BYTES)
        return cls(descriptor)

    @classmethod
    def inherited(cls, env: Mapping[str, str]) -> "WorkerBoard":
        """The board that the parent process named in the environment, else one of our own."""
        return cls(os.open(env[ENV_NAME], os.O_RDWR)) if ENV_NAME in env else cls.create()

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @property
    def salt(self) -> bytes:
        """Random bytes that all workers of this service share until it starts anew."""
        return os.pread(self._descriptor, _SALT_BYTES, _PLACES * _PLACE_BYTES)

    @property
    def number(self) -> int:
        """0 for the first place; of the workers alive at most one has it."""
        return self._place - 1

    def take_place(self) -> bytes | None:
        """Take the lowest free place; what was last written there, if anything was.

        The kernel gives the place back when this process ends, however it does. Raises
        RuntimeError where there are more workers than places.
        """
        for place in range(1, _PLACES):
            # A lock of one byte, far from the data; it keeps nobody from reading. It belongs to the
            # open file description, because a lock of the process would be lost as soon as any
            # descriptor of the board is closed, a duplicate's too.
            lock = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, lock)
            except OSError:
                continue
            self._place = place
            found = self._read(place)
            return None if found is None else found.text
        raise RuntimeError("there are more workers than places on their board")

    def write(self, text: bytes) -> None:
        """What the others read from now on, instead of what was there. Raises ValueError for
        more than fits.
        """
        self._write(self._place, text)

    def notices(self) -> dict[int, Notice]:
        """What every worker wrote last, by its number, those that have ended too."""
        found = ((place - 1, self._read(place)) for place in range(1, _PLACES))
        return {number: notice for number, notice in found if notice is not None}

    def write_shared(self, text: bytes) -> None:
        """What is no worker's own; only worker 0 writes it."""
        self._write(_SHARED, text)

    def shared(self) -> bytes | None:
        found = self._read(_SHARED)
        return None if found is None else found.text

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, place: int, text: bytes) -> None:
        if len(text) + _HEAD_BYTES > _PLACE_BYTES:
            raise ValueError("the notice is larger than a place on the board")
        checked = time.monotonic_ns().to_bytes(8) + text
        head = len(text).to_bytes(4) + zlib.crc32(checked).to_bytes(4)
        os.pwrite(self._descriptor, head + checked, place * _PLACE_BYTES)

    def _read(self, place: int) -> Notice | None:
        """None where nothing whole was there to read."""
        for _ in range(_LOOKS):
            head = os.pread(self._descriptor, _HEAD_BYTES, place * _PLACE_BYTES)
            length = int.from_bytes(head[:4])
            at = place * _PLACE_BYTES + _HEAD_BYTES - 8
            if not length:
                return None
            checked = os.pread(self._descriptor, 8 + min(length, _PLACE_BYTES), at)
            if zlib.crc32(checked) == int.from_bytes(head[4:8]):
                written_ns = int.from_bytes(checked[:8])
                return Notice(checked[8:], time.monotonic_ns() - written_ns < _SILENT_NS)
        return None
