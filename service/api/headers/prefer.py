"""The Prefer header (RFC 7240)."""

import re
from collections.abc import Mapping

# What stands between two commas that are not quoted; a quote that never ends goes to the end.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')


def wants_minimal(headers: Mapping[str, list[str]]) -> bool:
    """Whether ``return=minimal`` is preferred."""
    return _preferred(headers, "return") == "minimal"


def wanted_count(headers: Mapping[str, list[str]]) -> str | None:
    """``exact`` or ``estimated``; None where no total is wanted, or another kind of one."""
    wanted = _preferred(headers, "count")
    return wanted if wanted in ("exact", "estimated") else None


def _preferred(headers: Mapping[str, list[str]], preference: str) -> str | None:
    """Its value in lower case; the first of several counts (RFC 7240 section 2)."""
    for value in headers.get("prefer", ()):
        for part in _PREFERENCE.finditer(value):
            name, _, wanted = part[0].split(";")[0].partition("=")
            if name.strip(" \t").lower() == preference:
                return wanted.strip(' \t"').lower()
    return None
