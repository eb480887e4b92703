"""The Prefer header (RFC 7240)."""

from collections.abc import Mapping


def wants_minimal(headers: Mapping[str, list[str]]) -> bool:
    """Whether ``return=minimal`` is preferred; the first of several ``return`` counts."""
    for value in headers.get("prefer", ()):
        for preference in value.split(","):
            name, _, wanted = preference.split(";")[0].partition("=")
            if name.strip(" \t").lower() == "return":
                return wanted.strip(' \t"').lower() == "minimal"
    return False
