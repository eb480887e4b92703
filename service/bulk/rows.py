"""Makes a row of each input line, or rejects the line with a reason.

An exported line is an object that has ``data`` and otherwise only members of the v1 representation,
which are kept. Any other object is itself the data of an item with a new id. With ``bare`` every
line is data.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import orjson

from service import native
from service.model.errors import Location
from service.model.item_json import MEMBERS
from service.store.copy import encode_row, row_head

_MAX_VERSION = 2**63 - 1

# From data and its pointer: the first violation of the installation's schema.
CheckData: TypeAlias = Callable[[bytes, str], Location | None]


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected line. ``pointer`` is an RFC 6901 JSON Pointer into the line."""

    line: int
    reason: str
    detail: str
    pointer: str = ""


class _Row(NamedTuple):
    """A line as a row: ``head`` is encoded by ``row_head``; ``is_named`` if the line has an id."""

    item_id: bytes
    head: bytes
    data: bytes
    is_named: bool = False


class _Invalid(Exception):
    def __init__(self, reason: str, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.reject = (reason, detail, pointer)


@dataclass(slots=True)
class Batch:
    """Encoded rows by shard, the input line of each row, and the last line read.

    ``named`` are the ids that lines name themselves, because caches may hold entries for them.
    """

    rows: list[bytearray]
    lines: list["array[int]"]
    named: list[list[bytes]]
    line: int = 0
    input_bytes: int = 0

    @classmethod
    def of(cls, shards: int) -> "Batch":
        """An empty batch."""
        of_all = range(shards)
        return cls(
            [bytearray() for _ in of_all], [array("q") for _ in of_all], [[] for _ in of_all]
        )

    @property
    def size(self) -> int:
        """Bytes read or held, whichever is larger."""
        return max(self.input_bytes, sum(map(len, self.rows)))


class RowMaker:
    """Makes rows of lines. ``done`` is, per shard, the last line that it has.

    ``all_done`` is the last line that all shards have. ``check`` None: any object is valid data.
    """

    def __init__(
        self,
        owner_id: str,
        first_id: bytes,
        shard_of: list[int],
        done: list[int],
        bare: bool,
        check: CheckData | None = None,
        collection: int = 0,
    ) -> None:
        self._now = datetime.now(UTC)
        self._owner = owner_id.encode()
        self._collection = collection
        self._head = row_head(self._owner, 1, self._now, self._now, collection)
        self._first_id = first_id
        self._shard_of = shard_of
        self._done = done
        self.all_done = min(done)
        self._bare = bare
        self._check = check

    def batch(self) -> Batch:
        """An empty batch for all shards."""
        return Batch.of(len(self._done))

    def add(self, batch: Batch, first_line: int, text: bytes) -> Iterator[Reject]:
        """Add the rows of whole lines to the batch; yields the rejected lines."""
        for line, each in self._add_plain(batch, first_line, text):
            try:
                row = self._read(line, each)
            except _Invalid as invalid:
                yield Reject(line, *invalid.reject)
                continue
            shard = self._shard_of[native.bucket_of(row.item_id, len(self._shard_of))]
            if line > self._done[shard]:
                batch.rows[shard] += encode_row(row.item_id, row.head, row.data)
                batch.lines[shard].append(line)
                if row.is_named:
                    batch.named[shard].append(row.item_id)

    def _add_plain(self, batch: Batch, first_line: int, text: bytes) -> Iterable[tuple[int, bytes]]:
        """Add the rows that need no full parse; returns the lines that do."""
        if self._check is not None:
            lines = enumerate(text.removesuffix(b"\n").split(b"\n"), first_line)
            return ((line, each) for line, each in lines if each.strip())
        plain, others = native.copy_rows(
            text, first_line, self._first_id, self._head, self._shard_of, self._done, self._bare
        )
        for shard, (rows, numbers) in enumerate(plain):
            batch.rows[shard] += rows
            batch.lines[shard].frombytes(numbers)
        return others

    def _read(self, line: int, text: bytes) -> "_Row":
        problems = []
        if not self._bare:
            found = native.scan_envelope(text, MEMBERS)
            if isinstance(found, dict):
                if "data" in found:
                    return self._exported(line, found)
            elif all(problem.rule != "unknown-member" for problem in found):
                problems = found
        problems = problems or native.scan_value(text)
        if problems:
            first = problems[0]
            detail = f"{first.detail} (column {first.column})"
            raise _Invalid(first.rule, detail, first.pointer)
        if not text.lstrip().startswith(b"{"):
            raise _Invalid("not-an-object", "a line must be one JSON object")
        return _Row(self._minted(line), self._head, self._checked(text, ""))

    def _checked(self, data: bytes, at: str) -> bytes:
        wrong = None if self._check is None else self._check(data, at)
        if wrong is not None:
            raise _Invalid("schema", wrong.detail, wrong.pointer or "")
        return data

    def _minted(self, line: int) -> bytes:
        return (int.from_bytes(self._first_id, "big") + line).to_bytes(16, "big")

    def _exported(self, line: int, found: dict[str, bytes]) -> "_Row":
        if not found["data"].startswith(b"{"):
            raise _Invalid(
                "not-an-object", "data must be an object (or is --bare missing?)", "/data"
            )
        data = self._checked(found["data"], "/data")
        is_named = "id" in found
        item_id = _id_of(found["id"]) if is_named else self._minted(line)
        if len(found) == 1 + is_named:
            return _Row(item_id, self._head, data, is_named)
        owner = _text(found, "owner_id").encode() if "owner_id" in found else self._owner
        created = _time(found, "created_at") if "created_at" in found else self._now
        updated = _time(found, "updated_at") if "updated_at" in found else created
        head = row_head(owner, _version(found), created, updated, self._collection)
        return _Row(item_id, head, data, is_named)


def _id_of(value: bytes) -> bytes:
    text = orjson.loads(value)
    item_id = native.parse_id(text) if isinstance(text, str) else None
    if item_id is None:
        raise _Invalid("invalid-id", "an id is a ULID of 26 characters (is the line bare?)", "/id")
    return item_id


def _text(found: dict[str, bytes], name: str) -> str:
    value = orjson.loads(found[name])
    if not isinstance(value, str) or not value:
        raise _Invalid("invalid-member", f"{name} must be a string", f"/{name}")
    return value


def _time(found: dict[str, bytes], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(found, name))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _Invalid("invalid-member", f"{name} must be an RFC 3339 time", f"/{name}")
    return moment


def _version(found: dict[str, bytes]) -> int:
    version = orjson.loads(found.get("version", b"1"))
    if type(version) is not int or not 1 <= version <= _MAX_VERSION:
        raise _Invalid("invalid-member", "version must be a positive integer", "/version")
    return version
