"""Which representation comes in and goes out (RFC 9110 sections 8.3 and 12.5.1)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from service.model.errors import NotAcceptable, Place, UnsupportedMediaType

JSON = "application/json"
V1 = "application/vnd.api.v1+json"
# What can be sent, the default first.
_OFFERED = (JSON, V1)
_ITEM_TYPES = (JSON, V1)
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PATCH_TYPES = (MERGE_PATCH, JSON_PATCH)


def check_accept(headers: Mapping[str, list[str]]) -> str:
    """The media type to answer with. Raises NotAcceptable."""
    chosen = negotiate(", ".join(headers.get("accept", ())))
    if chosen is None:
        raise NotAcceptable(
            "None of the accepted media types is offered here.",
            Place("names no offered type", header="accept"),
            extra={"available": ", ".join(_OFFERED)},
        )
    return chosen


def check_item_body(headers: Mapping[str, list[str]]) -> str:
    """Only JSON in UTF-8 comes in, so that no plain HTML form of another site can write.

    Returns its media type, without parameters. Raises UnsupportedMediaType.
    """
    detail = "An item is sent as application/json in UTF-8."
    return _sent_type(headers, _ITEM_TYPES, detail, "accept")


def check_patch_body(headers: Mapping[str, list[str]]) -> str:
    """The same for a PATCH, which Accept-Patch answers (RFC 5789 section 3.1)."""
    detail = "A patch is a JSON merge patch or a JSON Patch, in UTF-8."
    return _sent_type(headers, PATCH_TYPES, detail, "accept_patch")


def _sent_type(
    headers: Mapping[str, list[str]], known: Sequence[str], detail: str, answered_by: str
) -> str:
    values = headers.get("content-type", [])
    essence = _essence(values[0]) if len(values) == 1 else None
    if essence is None or essence not in known:
        place = Place("is not a supported media type", header="content-type")
        raise UnsupportedMediaType(detail, place, extra={answered_by: ", ".join(known)})
    return essence


def _essence(value: str) -> str | None:
    """Type and subtype in lower case; None if the charset is not UTF-8 or the syntax is off."""
    essence, *parameters = value.split(";")
    for parameter in parameters:
        name, _, text = parameter.strip(" \t").partition("=")
        if name.lower() == "charset" and text.strip('"').lower() not in ("utf-8", "utf8"):
            return None
    return essence.strip(" \t").lower()


@lru_cache(maxsize=1024)
def negotiate(accept: str) -> str | None:
    """The offered type with the highest quality; the more specific range decides (12.5.1)."""
    if not accept.strip(" \t,"):
        return _OFFERED[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip(" \t")]
    best, best_quality = None, 0.0
    for offered in _OFFERED:
        quality = _quality(offered, ranges)
        if quality > best_quality:
            best, best_quality = offered, quality
    return best


def _range(part: str) -> tuple[str, float]:
    essence, *parameters = part.split(";")
    quality = 1.0
    for parameter in parameters:
        name, _, text = parameter.strip(" \t").partition("=")
        if name.strip().lower() == "q":
            try:
                quality = min(1.0, max(0.0, float(text)))
            except ValueError:
                quality = 0.0
    return essence.strip(" \t").lower(), quality


def _quality(offered: str, ranges: list[tuple[str, float]]) -> float:
    """RFC 9110 12.5.1: exact type, then type/*, then */*; 0 where no range names it."""
    for pattern in (offered, offered.split("/")[0] + "/*", "*/*"):
        named = [quality for essence, quality in ranges if essence == pattern]
        if named:
            return max(named)
    return 0.0
