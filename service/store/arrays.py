"""Encodes columns of values as PostgreSQL's binary arrays (array_send).

psycopg inspects every element of a list several times to find its type; here the caller gives it.
Statements have to cast such a parameter, because it is sent without a type.
"""

from collections.abc import Iterable
from struct import Struct

from psycopg.adapt import Buffer, Dumper
from psycopg.postgres import types
from psycopg.pq import Format

_BOOL, _BYTEA, _INT2, _INT4, _INT8, _TEXT, _UUID = (
    types[name].oid for name in ("bool", "bytea", "int2", "int4", "int8", "text", "uuid")
)
# Number of dimensions, null flag, element type; length and lower bound of the first dimension.
_HEAD = Struct("!iiIii")


class Array(bytes):
    """An array in its wire format."""

    __slots__ = ()


class ArrayDumper(Dumper):
    """psycopg's dumper for Array."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj


def texts(values: Iterable[bytes]) -> Array:
    """``text[]`` of UTF-8."""
    return _array(_TEXT, values)


def byteas(values: Iterable[bytes]) -> Array:
    """``bytea[]``."""
    return _array(_BYTEA, values)


def uuids(values: Iterable[bytes]) -> Array:
    """``uuid[]`` of their 16 bytes."""
    return _array(_UUID, values)


def booleans(values: Iterable[bool]) -> Array:
    """``boolean[]``."""
    return _array(_BOOL, (b"\1" if value else b"\0" for value in values))


def smallints(values: Iterable[int]) -> Array:
    """``smallint[]``."""
    return _array(_INT2, (value.to_bytes(2, signed=True) for value in values))


def integers(values: Iterable[int]) -> Array:
    """``integer[]``."""
    return _array(_INT4, (value.to_bytes(4, signed=True) for value in values))


def bigints(values: Iterable[int]) -> Array:
    """``bigint[]``."""
    return _array(_INT8, (value.to_bytes(8, signed=True) for value in values))


def _array(element_type: int, elements: Iterable[bytes]) -> Array:
    pieces = [b""]
    for element in elements:
        pieces += (len(element).to_bytes(4), element)
    pieces[0] = _HEAD.pack(1, 0, element_type, len(pieces) // 2, 1)
    return Array(b"".join(pieces))
