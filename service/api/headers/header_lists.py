"""Reads header fields: joins their lines, and parses the grammar that several fields share.

RFC 9110 section 5.6.1 (lists), 5.6.4 (quoted strings), 5.6.6 (parameters), 12.4.2 (weights).
"""

import re
from collections.abc import Iterator, Mapping

from service.model.bounds import FIELD_MAX_BYTES, bounded, header_too_large

# More commas and semicolons than clients send; each costs a microsecond or two.
_MAX_DELIMITERS = 200
# Possessive, so that matching is linear; an unclosed quote extends to the end.
_QUOTED = r'"(?:[^"\\]|\\.)*+(?:"|\\?+\Z)'
_MEMBER = re.compile(rf'(?:[^,"]|{_QUOTED})++', re.DOTALL)
_PARAMETER = re.compile(rf'(?:[^;"]|{_QUOTED})++', re.DOTALL)
_WEIGHT = re.compile(r"[0-9]++(?:\.[0-9]*+)?|\.[0-9]++")


def list_field(headers: Mapping[str, list[str]], name: str) -> str | None:
    """As ``field``, for a list-based field, whose number of members is bounded too.

    Raises HeaderTooLarge.
    """
    value = field(headers, name)
    if value is not None and not is_short(value):
        raise header_too_large(name, f"has more than {_MAX_DELIMITERS} members and parameters")
    return value


def field(headers: Mapping[str, list[str]], name: str) -> str | None:
    """The field's value, its lines joined by commas; None if it was not sent.

    Raises HeaderTooLarge.
    """
    lines = headers.get(name)
    if lines is None:
        return None
    value = lines[0] if len(lines) == 1 else ", ".join(lines)
    if len(value) > FIELD_MAX_BYTES:
        raise header_too_large(name)
    return value


@bounded(FIELD_MAX_BYTES)
def is_short(value: str) -> bool:
    """Whether a list is short enough to be parsed."""
    if len(value) > FIELD_MAX_BYTES:
        return False
    return value.count(",") + value.count(";") <= _MAX_DELIMITERS


@bounded(FIELD_MAX_BYTES)
def members(value: str) -> Iterator[str]:
    """The members between unquoted commas, without surrounding white space.

    Empty members are left out; a value that is too long has none.
    """
    return _split(_MEMBER, value)


@bounded(FIELD_MAX_BYTES)
def parameters(value: str) -> Iterator[tuple[str, str]]:
    """The parameters between semicolons: names in lower case, values without quotes."""
    for part in _split(_PARAMETER, value):
        name, _, wanted = part.partition("=")
        if name:
            yield name.strip(" \t").lower(), wanted.strip(" \t").strip('"')


@bounded(FIELD_MAX_BYTES)
def weight(text: str) -> float:
    """A quality from 0 to 1; 0 if it is malformed, so that a malformed range selects nothing."""
    if len(text) > FIELD_MAX_BYTES or _WEIGHT.fullmatch(text) is None:
        return 0.0
    return min(1.0, float(text))


def _split(delimited: re.Pattern[str], value: str) -> Iterator[str]:
    if not is_short(value):
        return
    for part in delimited.findall(value):
        stripped = part.strip(" \t")
        if stripped:
            yield stripped
