"""The rejects file: one JSON object per rejected line, each written once."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import orjson

from service.bulk.rows import Reject


class Rejects:
    """The rejected lines of an import. The file is created with the first one.

    A resumed import reads the lines after ``after_line`` again, for at least one shard; those
    already in the file are not written twice. ``count`` includes those of earlier runs.
    """

    def __init__(self, path: Path, after_line: int, resumed: bool) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None
        self._after_line = after_line
        # Later lines that earlier runs wrote, and that this run will read again.
        self._known: set[int] = set()
        self._lock = threading.Lock()
        if resumed and path.exists():
            self._take_up()
        elif path.exists():
            path.unlink()

    def add(self, rejects: Iterable[Reject]) -> None:
        """Write them to the file, so that they survive the death of this process."""
        with self._lock:
            for reject in rejects:
                if reject.line > self._after_line and reject.line not in self._known:
                    self._write(reject)
            if self._file is not None:
                self._file.flush()

    def _write(self, reject: Reject) -> None:
        if self._file is None:
            self._file = self.path.open("ab")
        self._file.write(orjson.dumps(reject, option=orjson.OPT_APPEND_NEWLINE))
        self.count += 1

    def sync(self) -> None:
        """Call fsync; do so before a position after these lines is committed."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _take_up(self) -> None:
        whole = 0
        with self.path.open("rb") as old:
            for text in old:
                if not text.endswith(b"\n"):
                    break
                whole += len(text)
                self.count += 1
                line = orjson.loads(text)["line"]
                if line > self._after_line:
                    self._known.add(line)
        # A partial line, written when the last run died.
        os.truncate(self.path, whole)
