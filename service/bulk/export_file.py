"""The output file of an export, plain or gzip, which a later run can continue.

A compressed file is a series of gzip members of whole lines, so wherever a run was interrupted,
everything up to the last whole member is valid.
"""

import gzip
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import orjson

from service import native

_MEMBER_BYTES = 4 << 20
_STEP_BYTES = 1 << 20
_GZIP_WBITS = 31
_LEVEL = 5


class ExportFileInvalid(Exception):
    """A file that no export can continue; the message says why."""


class ExportFile:
    """A new file, or with ``resume`` the existing one, truncated after its last whole line.

    ``last_id`` is the id of that line. Raises ExportFileInvalid, OSError.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self._compressed = path.suffix == ".gz"
        self._waiting = bytearray()
        self.last_id: bytes | None = None
        if resume and path.exists():
            self._take_up(path)
        self._file = path.open("ab" if resume else "wb")

    def write(self, line: bytes) -> None:
        """Append a line, with its line end."""
        self._waiting += line
        if len(self._waiting) >= _MEMBER_BYTES:
            self._put_out()

    def close(self) -> None:
        """Write what is buffered, and close the file."""
        with self._file:
            self._put_out()

    def _put_out(self) -> None:
        if self._waiting:
            text = bytes(self._waiting)
            self._file.write(gzip.compress(text, _LEVEL, mtime=0) if self._compressed else text)
            self._waiting.clear()

    def _take_up(self, path: Path) -> None:
        with path.open("rb") as file:
            end, line = (_gzip_end if self._compressed else _plain_end)(file)
        if line:
            try:
                item_id = orjson.loads(line)["id"]
            except (orjson.JSONDecodeError, TypeError, KeyError):
                item_id = None
            self.last_id = native.parse_id(item_id) if isinstance(item_id, str) else None
            if self.last_id is None:
                raise ExportFileInvalid(f"{path}: the last whole line is not an exported item")
        elif path.stat().st_size > end:
            raise ExportFileInvalid(f"{path}: it contains no whole line or gzip member")
        os.truncate(path, end)


def _plain_end(file: BinaryIO) -> tuple[int, bytes]:
    """Where the last whole line ends, and that line; 0 and no bytes if there is none."""
    at = file.seek(0, os.SEEK_END)
    tail = b""
    while at and tail.count(b"\n") < 2:
        step = min(_STEP_BYTES, at)
        at = file.seek(at - step)
        tail = file.read(step) + tail
    line = _last_line(tail)
    return at + tail.rfind(b"\n") + 1, line


def _gzip_end(file: BinaryIO) -> tuple[int, bytes]:
    """Where the last whole member ends, and its last line; 0 and no bytes if there is none."""
    end, line = 0, b""
    compressed = file.read(_STEP_BYTES)
    while compressed:
        member, tail = zlib.decompressobj(wbits=_GZIP_WBITS), b""
        while not member.eof:
            if not compressed:
                return end, line
            try:
                tail = _last_line(tail) + _rest(tail) + member.decompress(compressed)
            except zlib.error:
                return end, line
            compressed = b"" if member.eof else file.read(_STEP_BYTES)
        compressed = member.unused_data
        end = file.tell() - len(compressed)
        line = _last_line(tail) or line
        compressed = compressed or file.read(_STEP_BYTES)
    return end, line


def _last_line(text: bytes) -> bytes:
    """The last whole line, with its line end."""
    end = text.rfind(b"\n") + 1
    return text[text.rfind(b"\n", 0, max(0, end - 1)) + 1 : end]


def _rest(text: bytes) -> bytes:
    """What follows the last line end."""
    return text[text.rfind(b"\n") + 1 :]
