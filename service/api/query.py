"""The query string, decoded exactly once (RFC 3986 section 2.1; ``+`` is a space)."""

import re
from collections.abc import Collection
from urllib.parse import unquote_plus

from service.model.bounds import bounded
from service.model.errors import InvalidParameter, Location

# Granian itself refuses a longer target (414).
QUERY_MAX_BYTES = 65_536
MAX_PARAMETERS = 64
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_LOCATIONS = 20


@bounded(QUERY_MAX_BYTES)
def parameters(
    query_string: str, allowed: Collection[str], family: str | None = None
) -> dict[str, str]:
    """Every parameter by name. Raises InvalidParameter for an unknown or a repeated one.

    Also raised, with every location, for text that cannot be decoded: a broken escape, bytes that
    are not UTF-8, NUL. ``family`` is a prefix of further allowed names. Nothing is decoded if there
    are more than MAX_PARAMETERS parameters.
    """
    if len(query_string) > QUERY_MAX_BYTES:
        raise InvalidParameter(f"The query string is longer than {QUERY_MAX_BYTES} bytes.")
    parts = [*filter(None, query_string.split("&"))]
    if len(parts) > MAX_PARAMETERS:
        location = _location(
            f"is one parameter more than {MAX_PARAMETERS}", parts[-1].split("=")[0]
        )
        raise InvalidParameter("The query string has too many parameters.", location)
    found: dict[str, str] = {}
    wrong: list[Location] = []
    for part in parts:
        sent_name, _, sent_value = part.partition("=")
        name, value = _decoded(sent_name), _decoded(sent_value)
        if name is None or value is None:
            wrong.append(_location("is not percent-encoded UTF-8", name or sent_name))
        elif name not in allowed and not (family and name.startswith(family)):
            names = ", ".join([*sorted(allowed), *([f"{family}…"] if family else [])])
            known = f"known here: {names}" if names else "none is known here"
            wrong.append(_location(f"is unknown; {known}", name))
        elif name in found:
            wrong.append(_location("is repeated", name))
        else:
            found[name] = value
    if wrong:
        raise InvalidParameter("The query string cannot be used.", *wrong[:_MAX_LOCATIONS])
    return found


def _decoded(text: str) -> str | None:
    """The decoded text; None if it cannot be decoded or contains NUL."""
    if _BROKEN_ESCAPE.search(text):
        return None
    try:
        decoded = unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        return None
    return None if "\0" in decoded else decoded


def _location(detail: str, name: str) -> Location:
    return Location(detail, parameter=name[:256])
