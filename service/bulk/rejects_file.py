"""The rejects file: one JSON object a line that was left out, each written once."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import orjson

from service.bulk.rows import Reject


class Rejects:
    """The lines that an import leaves out. The file is made when the first one comes.

    A resumed import looks at the lines behind ``after_line`` again, at least in some shard; those
    already in the file are not written twice. ``count`` includes the ones of earlier runs.
    """

    def __init__(self, path: Path, after_line: int, resumed: bool) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None
        self._after_line = after_line
        # Lines behind that which earlier runs wrote down, and which this run will meet again.
        self._known: set[int] = set()
        self._lock = threading.Lock()
        if resumed and path.exists():
            self._take_up()
        elif path.exists():
            path.unlink()

    def add(self, rejects: Iterable[Reject]) -> None:
        """Write them down, so that they survive the death of this process."""
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
        """Put them on the disk, before a position that lies behind them is committed."""
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
        # What the last run wrote of a line when it died.
        os.truncate(self.path, whole)
