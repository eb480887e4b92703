"""Parameters of operations, as the OpenAPI document describes them."""

from collections.abc import Sequence
from typing import Any

from service.api.describe.schema_parts import CURSOR, ULID
from service.api.describe.schemas import sort_keys
from service.api.list_query import CURSOR_NAMES, LIMIT_NAME
from service.api.represent.fields import PARAMETER
from service.model.query import DEFAULT_LIMIT, MAX_LIMIT


def parameter(name: str, version: int, attributes: Sequence[str]) -> dict[str, Any]:
    """A parameter by the name that operations give it."""
    text = {"type": "string"}
    match name:
        case "id":
            return _in("path", "id", "The item's id", ULID, required=True)
        case "asset":
            return _in("path", "asset", "A file's name", text, required=True)
        case "fields":
            return _in("query", PARAMETER[version], "Members of data to show, with commas", text)
        case "limit":
            limits = {"minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
            return _in(
                "query", LIMIT_NAME[version], "Items on a page", {"type": "integer"} | limits
            )
        case "cursor":
            return _in("query", CURSOR_NAMES[version]["next"], "A cursor of a page before", CURSOR)
        case "cursor-back":
            return _in("query", CURSOR_NAMES[version]["prev"], "A cursor of a page after", CURSOR)
        case "sort":
            words = "A minus before it turns the list round; a tie is broken by id"
            return _in("query", "sort", words, text | {"enum": sort_keys(attributes)})
        case "filter":
            named = {"propertyNames": {"pattern": r"^\w+$"}, "additionalProperties": text}
            schema = {"type": "object"} | named
            words = "filter[attribute]=value, or filter[attribute][operator]=value"
            return _in("query", "filter", words, schema) | {"style": "deepObject", "explode": True}
    return _HEADER_PARAMETERS[name]


def _in(place: str, name: str, text: str, schema: Any, required: bool = False) -> dict[str, Any]:
    return {"in": place, "name": name, "description": text, "schema": schema, "required": required}


_TAGS = {
    "type": "string",
    "pattern": r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$',
    "description": 'Such as "7-5d41402a", with its quotes',
}
_KEY = {"type": "string", "pattern": "^[!#-~]{1,255}$"}
_HEADER_PARAMETERS = {
    "if-match": _in("header", "If-Match", "Only if the item has one of these tags", _TAGS),
    "if-none-match": _in("header", "If-None-Match", "Only if it has none of these", _TAGS),
    "idempotency-key": _in(
        "header", "Idempotency-Key", "A retry under it changes nothing more", _KEY, required=True
    ),
    "optional-idempotency-key": _in(
        "header", "Idempotency-Key", "A retry under it changes nothing more", _KEY
    ),
    "prefer": _in(
        "header",
        "Prefer",
        "return=minimal drops the body (RFC 7240); what nobody knows is ignored",
        {"type": "string"},
    ),
    "prefer-count": _in(
        "header",
        "Prefer",
        "count=estimated or count=exact tells how many items the whole list has",
        {"type": "string"},
    ),
}
REQUEST_ID = _in(
    "header",
    "X-Request-Id",
    "1 to 128 plain characters are sent back; another value is replaced",
    {"type": "string"},
)
TRACEPARENT = _in(
    "header",
    "traceparent",
    "The trace that the request is part of (W3C Trace Context); what is none is ignored",
    {"type": "string"},
)
