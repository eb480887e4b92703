"""The parts of documents that JSON:API's cursor pagination profile defines.

A page that ended early because of its bytes has fewer items than the profile promises, and a
search has no links; neither claims the profile. Ranges (both cursors at once) are not offered.
"""

from typing import Any

from service.api.headers.media_types import JSON_API
from service.model.errors import Location

URL = "http://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
# The profile gives the URIs of its errors with https, and its own with http.
_ERRORS = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"

MAX_SIZE_EXCEEDED = "max-size-exceeded"
RANGE_NOT_SUPPORTED = "range-pagination-not-supported"
UNSUPPORTED_SORT = "unsupported-sort"


def media_type(plain: str) -> str:
    """The media type of a document that follows the profile."""
    return f'{plain};profile="{URL}"' if plain == JSON_API else plain


def error_members(location: Location, max_size: int) -> dict[str, Any]:
    """The members that the profile requires in the error object of a location."""
    if not location.rule:
        return {}
    members: dict[str, Any] = {"links": {"type": _ERRORS + location.rule}}
    if location.rule == MAX_SIZE_EXCEEDED:
        members["meta"] = {"page": {"maxSize": max_size}}
    return members
