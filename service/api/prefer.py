"""The Prefer header (RFC 7240)."""

import re
from collections.abc import Mapping

# What stands between two commas that are not quoted; a quote that never ends goes to the end.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')


def wants_minimal(headers: Mapping[str, list[str]]) -> bool:
    """Whether ``return=minimal`` is preferred; the first of several ``return`` counts."""
    for value in headers.get("prefer", ()):
        for preference in _PREFERENCE.finditer(value):
            name, _, wanted = preference[0].split(";")[0].partition("=")
            if name.strip(" \t").lower() == "return":
                return wanted.strip(' \t"').lower() == "minimal"
    return False
