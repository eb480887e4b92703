"""What each worker of a service pins up for the others to read.

A page of memory of its own for each worker, which the others find among its open files under
/proc: there is no file that a killed worker could leave behind, and none to agree upon.
"""

import contextlib
import multiprocessing
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

_NAME = "hotshelf-board"
_LINK = f"/memfd:{_NAME} (deleted)"
_HEAD_BYTES = 8
# A reader that meets a writer half-way looks again.
_LOOKS = 5


class WorkerBoard:
    """One worker's place; made once in a process."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create(_NAME)

    def write(self, notice: bytes) -> None:
        """What the others read from now on, instead of what was there."""
        head = len(notice).to_bytes(4) + zlib.crc32(notice).to_bytes(4)
        os.pwrite(self._descriptor, head + notice, 0)

    def others(self) -> dict[int, bytes]:
        """What the other living workers wrote last, by their process ids."""
        found = {}
        for pid in _siblings():
            with contextlib.suppress(OSError):
                notice = _read(pid)
                if notice is not None:
                    found[pid] = notice
        return found

    def close(self) -> None:
        os.close(self._descriptor)


def _siblings() -> Iterator[int]:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    for task in Path(f"/proc/{parent.pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from (pid for pid in map(int, task.read_text().split()) if pid != os.getpid())


def _read(pid: int) -> bytes | None:
    """None for a process without a board, or where nothing whole was there to read."""
    # It is opened before any connection, so it comes early among them.
    with os.scandir(f"/proc/{pid}/fd") as files:
        path = next((file.path for file in files if str(Path(file.path).readlink()) == _LINK), None)
    if path is None:
        return None
    with open(path, "rb", buffering=0) as page:
        for _ in range(_LOOKS):
            text = os.pread(page.fileno(), os.fstat(page.fileno()).st_size, 0)
            length, checksum = int.from_bytes(text[:4]), int.from_bytes(text[4:_HEAD_BYTES])
            notice = text[_HEAD_BYTES:][:length]
            if len(text) >= _HEAD_BYTES and zlib.crc32(notice) == checksum:
                return notice
    return None
