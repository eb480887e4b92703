"""Reads the lines of an import from a file or standard input, plain or gzip, in bounded memory."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK_BYTES = 256 << 10
_UTF8_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
# Magic bytes of other formats, and how to pipe their text into an import.
_FOREIGN = {
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd: zstd -dc FILE | hotshelf import -",
    b"\xfd7zXZ\x00": "it is compressed by xz: xz -dc FILE | hotshelf import -",
    b"BZh": "it is compressed by bzip2: bzip2 -dc FILE | hotshelf import -",
    b"PK\x03\x04": "it is a zip archive: unzip -p FILE | hotshelf import -",
}


class SourceBroken(Exception):
    """Input that cannot be read further; the message says why. Earlier lines are valid."""


@dataclass(frozen=True, slots=True)
class Block:
    """Input lines ``line`` (from 1) to ``last_line``, one JSON text per line.

    ``rejected`` (reason and detail) is set for a single line that cannot be read.
    """

    line: int
    last_line: int
    text: bytes = b""
    rejected: tuple[str, str] | None = None


class Source:
    """The lines of one input. ``sample`` is its decompressed beginning; ``size`` 0 means unknown.

    Opening it raises SourceBroken.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._raw = io.FileIO(sys.stdin.fileno() if path == "-" else path, closefd=path != "-")
            # 0 for pipes, too.
            self.size = os.fstat(self._raw.fileno()).st_size
            self._counted = _Counted(self._raw)
            peekable = io.BufferedReader(self._counted, _BLOCK_BYTES)
            compressed = peekable.peek(2).startswith(_GZIP)
            self._stream = gzip.GzipFile(fileobj=peekable) if compressed else peekable
            self.sample = self._read()
        except OSError as error:
            raise SourceBroken(f"{path}: {error.strerror or error}") from None
        self._refuse_foreign()

    @property
    def consumed(self) -> int:
        """Bytes of the stored (maybe compressed) input read so far."""
        return self._counted.count

    def close(self) -> None:
        self._raw.close()

    def blocks(self, line_max_bytes: int) -> Iterator[Block]:
        """All lines, about 256 KiB at a time. Raises SourceBroken."""
        line, carry, lost = 1, b"", False
        for text in self._texts():
            if lost:
                _, newline, text = text.partition(b"\n")
                if not newline:
                    continue
                yield _too_long(line, line_max_bytes)
                line, lost = line + 1, False
            text = carry + text
            end = text.rfind(b"\n") + 1
            next_line = line + text.count(b"\n")
            yield from _within(Block(line, next_line - 1, text[:end]), line_max_bytes)
            line = next_line
            # The rest of a line over the limit is read but dropped.
            lost = len(text) - end > line_max_bytes
            carry = b"" if lost else text[end:]
        if lost:
            yield _too_long(line, line_max_bytes)
        elif carry:
            yield Block(line, line, carry + b"\n")

    def refuse_array(self) -> None:
        """Raises SourceBroken for one JSON array instead of a line for each item."""
        if self.sample.removeprefix(_UTF8_MARK).lstrip().startswith(b"["):
            advice = "jq -c '.[]' FILE | hotshelf import -"
            raise SourceBroken(f"{self.name} is a JSON array, not one object a line: {advice}")

    def _texts(self) -> Iterator[bytes]:
        text = self.sample.removeprefix(_UTF8_MARK)
        while text:
            yield text
            text = self._read()

    def _read(self) -> bytes:
        try:
            return self._stream.read(_BLOCK_BYTES)
        except EOFError:
            raise SourceBroken(f"{self.name}: the gzip stream is truncated") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise SourceBroken(f"{self.name}: the gzip stream is damaged: {error}") from None
        except OSError as error:
            raise SourceBroken(f"{self.name}: {error.strerror or error}") from None

    def _refuse_foreign(self) -> None:
        for magic, advice in _FOREIGN.items():
            if self.sample.startswith(magic):
                raise SourceBroken(f"{self.name} is not plain or gzip text: {advice}")
        if b"\0" in self.sample:
            raise SourceBroken(f"{self.name} is not UTF-8 text: it contains NUL bytes")


def _within(block: Block, line_max_bytes: int) -> Iterator[Block]:
    """The block, or, if a line in it is too long, one block per line."""
    if not block.text:
        return
    lines = block.text.split(b"\n")[:-1]
    if max(map(len, lines)) <= line_max_bytes:
        yield block
        return
    for n, text in enumerate(lines, block.line):
        fits = len(text) <= line_max_bytes
        yield Block(n, n, text + b"\n") if fits else _too_long(n, line_max_bytes)


def _too_long(line: int, line_max_bytes: int) -> Block:
    detail = f"the line is longer than {line_max_bytes} bytes"
    return Block(line, line, rejected=("line-too-long", detail))


class _Counted(io.RawIOBase):
    """Counts the bytes read, so that progress is known for standard input and gzip, too."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = self._raw.readinto(buffer)
        self.count += count
        return count
