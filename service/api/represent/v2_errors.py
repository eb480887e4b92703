"""Errors of version 2: JSON:API error objects, one for each place that is wrong."""

from collections.abc import Mapping
from typing import Any

import orjson

from service.api.represent import cursor_profile
from service.api.represent.v2 import implementation
from service.model.errors import HotshelfError, Place
from service.model.query import MAX_LIMIT


def error_document(
    error: HotshelfError, status: int, title: str, request: Mapping[str, str]
) -> bytes:
    """The error as JSON:API error objects, one for each place; ``request`` is how to find it."""
    known: dict[str, Any] = {"status": str(status), "code": error.code, "title": title}
    if error.extra:
        known["meta"] = error.extra
    objects = [_error_object(known, error, place) for place in error.places]
    document: dict[str, Any] = {
        "jsonapi": implementation(is_profiled(error)),
        "errors": objects or [known | {"detail": error.detail}],
    }
    if request:
        document["meta"] = request
    return orjson.dumps(document)


def is_profiled(error: HotshelfError) -> bool:
    """Whether its document holds what the cursor pagination profile says of errors."""
    return any(place.rule for place in error.places)


def _error_object(known: Mapping[str, Any], error: HotshelfError, place: Place) -> dict[str, Any]:
    more = cursor_profile.error_members(place, MAX_LIMIT)
    if "meta" in more:
        more["meta"] |= known.get("meta", {})
    detail = f"{error.detail} {_sentence(place)}"
    return {**known, "detail": detail, "source": _source(place), **more}


def _sentence(place: Place) -> str:
    """The place's detail as a sentence; most are predicates, with the place as their subject."""
    if place.detail[:1].isupper():
        return place.detail
    if place.pointer is not None:
        subject = f"The member {place.pointer}" if place.pointer else "The body"
    elif place.parameter is not None:
        subject = f"The parameter {place.parameter}"
    else:
        subject = f"The header field {place.header}"
    return f"{subject} {place.detail}."


def _source(place: Place) -> dict[str, str]:
    named = {"pointer": place.pointer, "parameter": place.parameter, "header": place.header}
    return {name: value for name, value in named.items() if value is not None}
