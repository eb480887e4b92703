"""The Prefer header (RFC 7240)."""

from collections.abc import Mapping

from service.api.headers.header_lists import list_field, members, parameters
from service.model.bounds import FIELD_MAX_BYTES, bounded
from service.model.errors import HeaderTooLarge


def wants_minimal(headers: Mapping[str, list[str]]) -> bool:
    """Whether ``return=minimal`` is preferred. Raises HeaderTooLarge."""
    return preference(list_field(headers, "prefer") or "", "return") == "minimal"


def wanted_count(headers: Mapping[str, list[str]]) -> str | None:
    """``exact`` or ``estimated``; None if no total, or another kind of total, is preferred.

    Raises HeaderTooLarge.
    """
    wanted = preference(list_field(headers, "prefer") or "", "count")
    return wanted if wanted in ("exact", "estimated") else None


def prefers(headers: Mapping[str, list[str]], wanted: str) -> bool:
    """Whether ``wanted`` is among the preferences; False for a field that is too large."""
    try:
        return preference(list_field(headers, "prefer") or "", wanted) is not None
    except HeaderTooLarge:
        return False


@bounded(FIELD_MAX_BYTES)
def preference(value: str, wanted: str) -> str | None:
    """The preference's value in lower case; the first of several counts (RFC 7240 section 2)."""
    for member in members(value):
        name, setting = next(parameters(member), ("", ""))
        if name == wanted:
            return setting.lower()
    return None
