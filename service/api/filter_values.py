"""Parses the values of filters: their JSON types, and which operators accept which."""

import re
from datetime import UTC, datetime

import orjson

from service import native
from service.model.bounds import bounded
from service.model.errors import Location
from service.model.query import (
    CREATED_AT,
    FIELDS,
    OPERATORS,
    RANGES,
    Condition,
    Path,
    Value,
    may_be_too_long,
)
from service.model.query import VALUE_MAX_BYTES as INDEXED_MAX_BYTES

# The sum over all conditions of a list.
MAX_VALUES = 1000
# As long as a query string or the body of a search may be.
VALUE_MAX_BYTES = 65_536
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:[Zz]|[-+][0-9]{2}:[0-9]{2})"
)
# A JSON string; possessive, so that matching is linear even if the text is not one.
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')


@bounded(VALUE_MAX_BYTES)
def json_text(text: str, as_text: bool = False) -> str:
    """A parameter's value as JSON: a number, true, false or null if it is one, else a string.

    A JSON string is kept; with ``as_text`` everything else becomes a string. Raises ValueError if
    it is too long.
    """
    _check_length(text)
    if not as_text and _SCALAR.fullmatch(text):
        return text
    return text if _STRING.fullmatch(text) else orjson.dumps(text).decode()


@bounded(VALUE_MAX_BYTES)
def json_texts(text: str, as_text: bool = False) -> list[str]:
    """Values separated by commas; a quoted value may contain commas.

    Raises ValueError for more than MAX_VALUES, or if it is too long.
    """
    _check_length(text)
    values: list[str] = []
    start = 0
    while start <= len(text):
        check_count(len(values) + 1)
        string = _STRING.match(text, start)
        end = -1 if string is None else string.end()
        if end < 0 or text[end : end + 1] not in ("", ","):
            end = text.find(",", start)
            end = len(text) if end < 0 else end
        values.append(json_text(text[start:end], as_text))
        start = end + 1
    return values


def check_count(values: int) -> None:
    """Raises ValueError, with a predicate as its text, for too many values."""
    if values > MAX_VALUES:
        raise ValueError(f"has more than {MAX_VALUES} values")


def checked_condition(path: Path, operator: str, values: list[str], where: Location) -> Condition:
    """The condition with these JSON texts. Raises ValueError, with a predicate as its text."""
    check_operator(operator)
    check_count(len(values))
    for value in values:
        # First, because a value that cannot be stored cannot be found either.
        problems = native.scan_value(value.encode())
        if problems:
            raise ValueError(problems[0].detail)
    if operator == "exists":
        if values[0] not in ("true", "false"):
            raise ValueError("is neither true nor false")
    elif path in FIELDS:
        return Condition(path, operator, _field_values(path, operator, values), where)
    elif operator == "prefix" and values[0][0] != '"':
        raise ValueError("is not text")
    elif operator in ("prefix", "in") and any(map(may_be_too_long, values)):
        raise ValueError(f"is longer than the {INDEXED_MAX_BYTES} bytes that an index holds")
    elif operator in RANGES and values[0][0] in "[{":
        raise ValueError("is neither text nor a number, true, false or null")
    return Condition(path, operator, tuple(values), where)


def check_operator(operator: str) -> None:
    """Raises ValueError, with a predicate as its text, if it is unknown."""
    if operator not in OPERATORS:
        raise ValueError(f"has an unknown operator; use one of {', '.join(OPERATORS)}")


def _field_values(path: Path, operator: str, values: list[str]) -> tuple[Value, ...]:
    if any(value[0] != '"' for value in values):
        raise ValueError("is not text")
    texts = [str(orjson.loads(value)) for value in values]
    if path != CREATED_AT:
        return tuple(texts)
    if operator in ("prefix", "contains"):
        raise ValueError("is not an operator for times")
    return tuple(map(_time, texts))


def _time(text: str) -> datetime:
    """RFC 3339, to the microsecond."""
    if not _TIME.fullmatch(text):
        raise ValueError("is not a time such as 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not an existing time") from None


def _check_length(text: str) -> None:
    if len(text) > VALUE_MAX_BYTES:
        raise ValueError(f"is longer than {VALUE_MAX_BYTES} characters")
