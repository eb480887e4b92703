r"""A list as plain data: filters, order and start position.

Names of attributes are paths into an item's data, written with dots between members' names;
``\.`` is a dot inside a name, ``\\`` a backslash before one.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from service.model.bounds import FIELD_MAX_BYTES, bounded
from service.model.errors import Location

Path: TypeAlias = tuple[str, ...]
# JSON text for attributes of data; plain text for owner_id, a time for created_at.
Value: TypeAlias = str | datetime

ID: Path = ("id",)
OWNER_ID: Path = ("owner_id",)
CREATED_AT: Path = ("created_at",)
FIELDS = (OWNER_ID, CREATED_AT)

RANGES = ("gt", "gte", "lt", "lte")
# Operators that an index supports, and residual ones, which only filter the rows of another.
INDEXED = ("eq", *RANGES, "in", "prefix")
RESIDUAL = ("ne", "nin", "exists", "contains")
OPERATORS = (*INDEXED, *RESIDUAL)

# Longer values are in no btree index: a btree entry has to fit into a third of a page.
VALUE_MAX_BYTES = 1000
# Items per page.
DEFAULT_LIMIT, MAX_LIMIT = 20, 1000

_NAME_MAX_BYTES = 256
_PATH_MAX_NAMES = 64
_PATH_MAX_BYTES = FIELD_MAX_BYTES
_EXPONENT = re.compile(r"[0-9][eE]")
_PIECE = re.compile(r"\\[.\\]|\.|[^.\\]++|\\")


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter. ``values`` has one value, or any number for ``in`` and ``nin``; for ``exists``
    it is the JSON text true or false. ``where`` is its location, with an empty detail.
    """

    path: Path
    operator: str
    values: tuple[Value, ...]
    where: Location


@dataclass(frozen=True, slots=True)
class Sort:
    """By one key, ties by id in the same direction; items without the key come last."""

    path: Path = ID
    descending: bool = False

    @property
    def by_attribute(self) -> bool:
        return self.path not in (ID, CREATED_AT)


class Extent(NamedTuple):
    """Which items a list may hold at all: those of the collection with this number.

    ``owner_id``: of this owner only. ``ttl_s``: none that was last changed longer ago, in seconds.
    """

    collection: int = 0
    owner_id: str | None = None
    ttl_s: int | None = None


# All of ``items``.
ALL_ITEMS: Final = Extent()


@dataclass(frozen=True, slots=True)
class Query:
    """The conditions of a list, which all must hold within its extent, and its order."""

    conditions: tuple[Condition, ...] = ()
    sort: Sort = Sort()
    extent: Extent = ALL_ITEMS


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a list, next to the item with this key and id.

    ``key`` is the sort key: JSON text of an attribute, None where the item lacks it; an ISO
    time for created_at; None for id. ``backwards`` is the direction of reading, and ``inclusive``
    whether it includes that item.
    """

    key: str | None
    item_id: bytes
    backwards: bool = False
    inclusive: bool = False

    def turned(self) -> "Position":
        """The same position in the opposite direction, excluding its item."""
        return Position(self.key, self.item_id, not self.backwards)


def may_be_too_long(value: Value) -> bool:
    """Whether the jsonb of a JSON text may have more than VALUE_MAX_BYTES as text.

    It has no more than the text itself and a blank after each comma and colon, but for numbers
    with an exponent, which are written out.
    """
    text = str(value)
    if text[:1] != '"' and _EXPONENT.search(text):
        return True
    return len(text.encode()) + text.count(",") + text.count(":") > VALUE_MAX_BYTES


@bounded(_PATH_MAX_BYTES)
def parse_path(text: str) -> Path:
    """The names in a dotted path. Raises ValueError, with a predicate as its text."""
    if len(text) > _PATH_MAX_BYTES:
        raise ValueError(f"is a path of more than {_PATH_MAX_BYTES} characters")
    names: list[str] = []
    pieces: list[str] = []
    for piece in _PIECE.findall(text):
        if piece == ".":
            names.append("".join(pieces))
            pieces = []
        else:
            pieces.append(piece[1] if piece in ("\\.", "\\\\") else piece)
    names.append("".join(pieces))
    if not all(names):
        raise ValueError("has an empty name")
    if len(names) > _PATH_MAX_NAMES:
        raise ValueError(f"has more than {_PATH_MAX_NAMES} names")
    if any(len(name.encode()) > _NAME_MAX_BYTES for name in names):
        raise ValueError(f"has a name of more than {_NAME_MAX_BYTES} bytes")
    return tuple(names)


def format_path(path: Path) -> str:
    """The path in the notation of requests and settings."""
    return ".".join(re.sub(r"\\(?=[.\\]|$)|\.", r"\\\g<0>", name) for name in path)


def parse_attributes(names: tuple[str, ...]) -> tuple[Path, ...]:
    """The declared attributes of the settings. Raises ValueError, which names an invalid one."""
    paths = []
    for name in names:
        try:
            path = parse_path(name)
        except ValueError as error:
            raise ValueError(f"{name!r} {error}") from None
        if path in (ID, *FIELDS) or "\0" in name:
            raise ValueError(f"{name!r} is a field of every item, not an attribute of its data")
        paths.append(path)
    return tuple(dict.fromkeys(paths))
