"""Errors of version 2: JSON:API error objects, one for each error location."""

from collections.abc import Mapping
from typing import Any

import orjson

from service.api.represent import cursor_profile
from service.api.represent.v2 import implementation
from service.model.errors import HotshelfError, Location
from service.model.query import MAX_LIMIT


def error_document(
    error: HotshelfError, status: int, title: str, request: Mapping[str, str]
) -> bytes:
    """The error as JSON:API error objects, one per location; ``request`` has ids for the log."""
    known: dict[str, Any] = {"status": str(status), "code": error.code, "title": title}
    if error.extra:
        known["meta"] = error.extra
    objects = [_error_object(known, error, location) for location in error.locations]
    document: dict[str, Any] = {
        "jsonapi": implementation(is_profiled(error)),
        "errors": objects or [known | {"detail": error.detail}],
    }
    if request:
        document["meta"] = request
    return orjson.dumps(document)


def is_profiled(error: HotshelfError) -> bool:
    """Whether its document has members of the cursor pagination profile."""
    return any(location.rule for location in error.locations)


def _error_object(
    known: Mapping[str, Any], error: HotshelfError, location: Location
) -> dict[str, Any]:
    more = cursor_profile.error_members(location, MAX_LIMIT)
    if "meta" in more:
        more["meta"] |= known.get("meta", {})
    detail = f"{error.detail} {_sentence(location)}"
    return {**known, "detail": detail, "source": _source(location), **more}


def _sentence(location: Location) -> str:
    """The location's detail as a sentence; if it is a predicate, the location is its subject."""
    if location.detail[:1].isupper():
        return location.detail
    if location.pointer is not None:
        subject = f"The member {location.pointer}" if location.pointer else "The body"
    elif location.parameter is not None:
        subject = f"The parameter {location.parameter}"
    else:
        subject = f"The header field {location.header}"
    return f"{subject} {location.detail}."


def _source(location: Location) -> dict[str, str]:
    named = {
        "pointer": location.pointer,
        "parameter": location.parameter,
        "header": location.header,
    }
    return {name: value for name, value in named.items() if value is not None}
