"""The query string, decoded exactly once (RFC 3986 section 2.1; ``+`` is a blank)."""

import re
from collections.abc import Collection
from urllib.parse import unquote_plus

from service.model.errors import InvalidParameter, Place

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parameters(query_string: str, allowed: Collection[str]) -> dict[str, str]:
    """Every parameter by name. Raises InvalidParameter for an unknown or a repeated one.

    Also for text that cannot be decoded: a broken escape, bytes that are not UTF-8, NUL.
    """
    found: dict[str, str] = {}
    for part in query_string.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        name, value = _decoded(name, name), _decoded(value, name)
        if name not in allowed:
            known = f"known here: {', '.join(sorted(allowed))}" if allowed else "none is known here"
            raise _invalid("An unknown query parameter was sent.", f"is unknown; {known}", name)
        if name in found:
            raise _invalid("A query parameter was sent twice.", "is repeated", name)
        found[name] = value
    return found


def _decoded(text: str, name: str) -> str:
    try:
        decoded = unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        decoded = "\0"
    if "\0" in decoded or _BROKEN_ESCAPE.search(text):
        raise _invalid("The query string cannot be decoded.", "is not percent-encoded UTF-8", name)
    return decoded


def _invalid(detail: str, place: str, name: str) -> InvalidParameter:
    return InvalidParameter(detail, Place(place, parameter=name[:256]))
