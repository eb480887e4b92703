"""JSON texts: as values that lose no digit, and what is wrong with them as an error.

All texts that are read here were checked by the scanner, or were written by PostgreSQL.
"""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Self

import orjson

from service import native
from service.model.errors import InvalidContent, InvalidSyntax, Place

# What makes the text unreadable, as against readable text that breaks a rule.
_SYNTAX = {"syntax", "duplicate-member"}


class Number(str):
    """A number as it was written: never rounded, equal to other numbers of its value only.

    A ``str`` because that is cheap to make and to copy; it equals no ``str`` and no ``bool``.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Number):
            return False
        return str.__eq__(self, other) or Decimal(self) == Decimal(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(Decimal(self))

    def __deepcopy__(self, memo: object) -> Self:
        return self


def value_of(text: bytes, members: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The text as dict, list, str, bool, None and Number; the last of equal names wins.

    ``members`` makes another thing than a dict of an object's names and values.
    """
    return json.loads(text, parse_float=Number, parse_int=Number, object_pairs_hook=members)


def text_of(value: Any) -> bytes:
    """The text of such a value, without blanks, numbers as they were written.

    Raises orjson.JSONEncodeError when it is nested more than 254 deep.
    """
    return orjson.dumps(value, _plain, orjson.OPT_PASSTHROUGH_SUBCLASS)


def _plain(value: Any) -> Any:
    if isinstance(value, Number):
        return orjson.Fragment(value.encode())
    return dict(value)


def problem_of(found: Sequence[native.ScanProblem]) -> InvalidSyntax | InvalidContent:
    """The error for what the scanner found: 400 if any of it is syntax."""
    places = places_of(found)
    if any(problem.rule in _SYNTAX for problem in found):
        return InvalidSyntax("The body is not the JSON that is expected here.", *places)
    return InvalidContent("The body holds something that cannot be stored.", *places)


def places_of(found: Sequence[native.ScanProblem]) -> list[Place]:
    """One place for each finding, with the line and column it is at."""
    return [
        Place(f"{p.detail} (line {p.line}, column {p.column})", pointer=p.pointer) for p in found
    ]
