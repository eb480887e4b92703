"""Header fields of answers, for the OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from service.model import errors
from service.model.errors import HotshelfError


def _header(text: str, **schema: Any) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"} | schema}


_POSITIVE = {"type": "integer", "minimum": 1}

HEADERS: dict[str, dict[str, Any]] = {
    "etag": _header("The strong entity tag of this representation", pattern='^"[!#-~]+"$'),
    "cache-control": _header("RFC 9111"),
    "vary": _header("The request header fields that the response depends on"),
    "content-encoding": _header("The coding of the body", enum=["br", "gzip", "zstd"]),
    "location": _header("The item's URL", format="uri-reference"),
    "link": _header("The next and previous pages (RFC 8288)"),
    "idempotency-replayed": _header("Replayed from an earlier request with this key", const="true"),
    "preference-applied": _header("RFC 7240"),
    "ratelimit": _header("The remaining quota, once less than half is left"),
    "ratelimit-policy": _header("The quota and its window"),
    "retry-after": {"description": "Seconds", "schema": _POSITIVE},
    "x-request-id": _header(
        "Identifies the request in the logs; sent with errors, or if preferred"
    ),
    "server-timing": _header("Time spent by part, on `Prefer: timing` (W3C Server Timing)"),
    "cache-status": _header(
        "The cache or node that answered a read, on `Prefer: timing` (RFC 9211)"
    ),
    "traceparent": _header("The span of this service, if the request belongs to a trace"),
    "deprecation": _header("The date since which version 1 is deprecated (RFC 9745)"),
    "sunset": _header("The date at which version 1 ends (RFC 8594)"),
    "www-authenticate": _header("The credentials to send (RFC 6750)"),
    "accept": _header("The media types that a body may have"),
    "accept-encoding": _header("The codings that a body may have"),
    "accept-patch": _header("The media types that a patch may have"),
}


def error_headers(status: int, classes: Sequence[type[HotshelfError]]) -> list[str]:
    """The header fields that only answers of this status may have."""
    names = ["cache-control"]
    waits = (errors.CapacityError, errors.DependencyError, errors.RequestInProgress)
    if any(issubclass(error, waits) for error in classes):
        names.append("retry-after")
    if status == 401 or errors.InsufficientScope in classes:
        names.append("www-authenticate")
    if status == 415:
        names += ["accept", "accept-encoding", "accept-patch"]
    return names
