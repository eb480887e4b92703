"""JSON texts as values that keep every digit, and scan problems as errors.

All texts parsed here were accepted by the scanner or written by PostgreSQL.
"""

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import orjson

from service import native
from service.model.errors import InvalidContent, InvalidSyntax, Location

# Problems of syntax, as opposed to valid JSON that violates a rule.
_SYNTAX = {"syntax", "duplicate-member"}


# An int of fewer digits fits in 64 bits, orjson's limit.
_LONG_INTEGER = re.compile(rb"[0-9]{19}")


def value_of(text: bytes, members: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The text as dict, list, str, bool, None, int and Decimal; the last of equal names wins.

    No number is rounded. ``members`` makes an object's value from its names and values; the default
    is a dict.
    """
    integer = Decimal if _LONG_INTEGER.search(text) else int
    return json.loads(text, parse_float=Decimal, parse_int=integer, object_pairs_hook=members)


def text_of(value: Any) -> bytes:
    """The text of such a value, without white space.

    Raises orjson.JSONEncodeError when it is nested more than 254 deep.
    """
    return orjson.dumps(value, _plain, orjson.OPT_PASSTHROUGH_SUBCLASS)


def _plain(value: Any) -> Any:
    return orjson.Fragment(str(value)) if isinstance(value, Decimal) else dict(value)


def problem_of(found: Sequence[native.ScanProblem]) -> InvalidSyntax | InvalidContent:
    """The error for what the scanner found: 400 if any of it is syntax."""
    locations = locations_of(found)
    if any(problem.rule in _SYNTAX for problem in found):
        return InvalidSyntax("The body is not the JSON that is expected here.", *locations)
    return InvalidContent("The body contains something that cannot be stored.", *locations)


def locations_of(found: Sequence[native.ScanProblem]) -> list[Location]:
    """One location for each finding, with its line and column."""
    return [
        Location(f"{p.detail} (line {p.line}, column {p.column})", pointer=p.pointer) for p in found
    ]


def pointer_token(name: str) -> str:
    """A member's name, escaped for a JSON Pointer (RFC 6901 section 3)."""
    return name.replace("~", "~0").replace("/", "~1")
