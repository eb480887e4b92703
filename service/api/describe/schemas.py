"""JSON Schemas (2020-12) of request and response bodies, for the OpenAPI document."""

from collections.abc import Sequence

from service.api.describe.batch_schemas import batch, results
from service.api.describe.collection_schemas import COLLECTION_SCHEMAS
from service.api.describe.schema_parts import (
    CURSOR,
    CURSOR_OR_NULL,
    DATA,
    TAG,
    TIME,
    ULID,
    Schema,
    closed,
)
from service.api.filter_values import MAX_VALUES
from service.api.list_query import MAX_CONDITIONS
from service.api.oauth2 import GRANT_TYPE
from service.api.represent.cursor_profile import URL as PROFILE
from service.model.collection import NAME
from service.model.json_patch import MAX_OPERATIONS
from service.model.query import MAX_LIMIT, OPERATORS
from service.model.resource import ITEMS

_META = {
    "owner_id": {"type": "string"},
    "version": {"type": "integer", "minimum": 1},
    "created_at": TIME,
    "updated_at": TIME,
}
_ITEM_1 = {"id": ULID} | _META | {"data": DATA}
_RESOURCE = {
    # The collection's name.
    "type": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    "id": ULID,
    "attributes": DATA,
    "links": closed({"self": {"type": "string", "format": "uri-reference"}}),
}
_JSON_API = closed({"version": {"const": "1.1"}})
# Lists and their errors: "Cursor Pagination".
_PROFILED = closed(
    {"version": {"const": "1.1"}, "profile": {"type": "array", "items": {"const": PROFILE}}},
    "profile",
)
_SENT_RESOURCE = {
    "type": {"const": ITEMS.json_api_type},
    "attributes": DATA,
    "id": ULID,
    "links": {"type": "object"},
    "meta": {"type": "object"},
}
_PLACE = closed(
    {
        "detail": {"type": "string"},
        "pointer": {"type": "string", "description": "into the body (RFC 6901)"},
        "parameter": {"type": "string"},
        "header": {"type": "string"},
    },
    "pointer",
    "parameter",
    "header",
)


def _sent(*optional: str, without: str = "") -> Schema:
    members = {name: shape for name, shape in _SENT_RESOURCE.items() if name != without}
    return closed({"data": closed(members, "links", "meta", *optional)})


def _page_1() -> Schema:
    item = closed(_ITEM_1 | {"etag": TAG})
    return closed(
        {
            "items": {"type": "array", "items": item, "maxItems": MAX_LIMIT},
            "next_cursor": CURSOR_OR_NULL,
            "prev_cursor": CURSOR_OR_NULL,
            "total": {"type": "integer", "minimum": 0},
        },
        "total",
    )


def _page_2() -> Schema:
    url = {"type": ["string", "null"], "format": "uri-reference"}
    count = {"type": "integer", "minimum": 0}
    counts = {"total": count, "estimatedTotal": closed({"bestGuess": count})}
    page = closed({"next_cursor": CURSOR_OR_NULL, "prev_cursor": CURSOR_OR_NULL} | counts, *counts)
    resource = closed(_RESOURCE | {"meta": closed(_META | {"etag": TAG})})
    return closed(
        {
            "jsonapi": _PROFILED,
            "data": {"type": "array", "items": resource, "maxItems": MAX_LIMIT},
            "meta": closed({"page": page}),
            "links": closed({"next": url, "prev": url}),
        },
        "links",
    )


def _json_patch() -> Schema:
    pointer = {"type": "string", "pattern": "^(/([^~/]|~[01])*)*$"}
    return {
        "type": "array",
        "maxItems": MAX_OPERATIONS,
        "items": {
            "type": "object",
            "oneOf": [
                {
                    "properties": {"op": {"enum": ["add", "replace", "test"]}, "path": pointer},
                    "required": ["op", "path", "value"],
                },
                {
                    "properties": {"op": {"const": "remove"}, "path": pointer},
                    "required": ["op", "path"],
                },
                {
                    "properties": {
                        "op": {"enum": ["move", "copy"]},
                        "path": pointer,
                        "from": pointer,
                    },
                    "required": ["op", "path", "from"],
                },
            ],
        },
    }


def sort_keys(attributes: Sequence[str]) -> list[str]:
    """The sort keys of lists if these attributes are declared."""
    keys = ("id", "created_at", *attributes)
    return [sign + key for key in keys for sign in ("", "-")]


def search(attributes: Sequence[str]) -> Schema:
    """The body of a search if these attributes are declared."""
    scalar = {"type": ["string", "number", "boolean", "null"]}
    several = {"type": "array", "items": scalar, "maxItems": MAX_VALUES}
    operators: Schema = {name: several if name in ("in", "nin") else scalar for name in OPERATORS}
    operators |= {"prefix": {"type": "string"}, "exists": {"type": "boolean"}}
    condition = closed(operators, *operators) | {"minProperties": 1}
    named = {"propertyNames": {"pattern": r"^\w+$"}, "maxProperties": MAX_CONDITIONS}
    return closed(
        {
            "filter": {"type": "object", "additionalProperties": {"anyOf": [scalar, condition]}}
            | named,
            "sort": {"enum": sort_keys(attributes)},
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
            "cursor": CURSOR,
            "fields": {"type": "array", "items": {"type": "string"}},
        },
        *("filter", "sort", "limit", "cursor", "fields"),
    )


_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457; further members describe the state that was found.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "trace_id": {"type": "string"},
        "errors": {"type": "array", "items": _PLACE},
    },
    "required": ["type", "title", "status", "code", "detail"],
}
_ERRORS = closed(
    {
        "jsonapi": _PROFILED,
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": closed(
                {
                    "status": {"type": "string"},
                    "code": {"type": "string"},
                    "title": {"type": "string"},
                    "detail": {"type": "string"},
                    "source": {"type": "object"},
                    "links": closed({"type": {"type": "string", "format": "uri"}}),
                    "meta": {"type": "object"},
                },
                *("source", "links", "meta"),
            ),
        },
        "meta": {"type": "object"},
    },
    "meta",
)

SCHEMAS: dict[str, Schema] = {
    "Batch": batch(),
    "BatchResultsV1": results(1),
    "BatchResultsV2": closed({"jsonapi": _JSON_API, "meta": results(2)}),
    "ItemV1": closed(_ITEM_1),
    "ItemV2": closed({"jsonapi": _JSON_API, "data": closed(_RESOURCE | {"meta": closed(_META)})}),
    "PageV1": _page_1(),
    "PageV2": _page_2(),
    "NewItemV1": closed({"data": DATA}),
    "NewItemV2": _sent(without="id"),
    "SentItemV2": _sent("id"),
    "ItemUpdateV2": _sent("attributes"),
    "JsonPatch": _json_patch(),
    "MergePatchV1": closed({"data": {"type": "object"}}, "data"),
    "MergePatchV2": closed({"data": closed({"attributes": {"type": "object"}}, "attributes")}),
    **COLLECTION_SCHEMAS,
    "Health": closed(
        {
            "status": {"enum": ["alive", "ready", "degraded", "unready", "draining"]},
            "degraded": {"type": "array", "items": {"type": "string"}},
        },
        "degraded",
    ),
    "TokenRequest": {
        "type": "object",
        "properties": {
            "grant_type": {"const": GRANT_TYPE},
            "client_id": {"type": "string"},
            "client_secret": {"type": "string", "format": "password"},
            "scope": {"type": "string"},
        },
        "required": ["grant_type"],
    },
    "Token": closed(
        {
            "access_token": {"type": "string"},
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer", "minimum": 1},
            "scope": {"type": "string"},
        }
    ),
    "OAuthError": closed({"error": {"type": "string"}, "error_description": {"type": "string"}}),
    "Json": {"type": "object"},
    "Problem": _PROBLEM,
    "Errors": _ERRORS,
}
