"""JSON Schemas (2020-12) of what goes in and out, for the OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from service.api.batch_body import MAX_OPERATIONS as MAX_OPERATIONS_OF_BATCH
from service.api.batch_body import OPERATIONS
from service.api.filter_values import MAX_VALUES
from service.api.list_query import MAX_CONDITIONS, MAX_LIMIT
from service.api.oauth2 import GRANT_TYPE
from service.api.preconditions import KEY
from service.api.v2 import TYPE
from service.items.patch import MAX_OPERATIONS
from service.model.query import OPERATORS

Schema = dict[str, Any]

_TIME = {"type": "string", "format": "date-time", "description": "UTC, with microseconds"}
ULID: Schema = {
    "type": "string",
    "pattern": "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$",
    "description": "A ULID; lower case is accepted and means the same.",
    "examples": ["01JHXSAMP1EKETT1E000000001"],
}
DATA: Schema = {
    "type": "object",
    "description": "Any JSON object, nested at most 64 deep; numbers keep every digit.",
    "examples": [{"name": "kettle", "price": 19.90}],
}
CURSOR: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
_CURSOR = {"type": ["string", "null"]}
_TAG = {"type": "string", "description": "The item's entity tag, good for If-Match"}


def closed(properties: Schema, *optional: str) -> Schema:
    """An object with these members and no others, all of them but ``optional`` required."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def ref(name: str) -> Schema:
    """A schema of ``SCHEMAS`` by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


_META = {
    "owner_id": {"type": "string"},
    "version": {"type": "integer", "minimum": 1},
    "created_at": _TIME,
    "updated_at": _TIME,
}
_ITEM_1 = {"id": ULID} | _META | {"data": DATA}
_RESOURCE = {
    "type": {"const": TYPE},
    "id": ULID,
    "attributes": DATA,
    "links": closed({"self": {"type": "string", "format": "uri-reference"}}),
}
_JSON_API = closed({"version": {"const": "1.1"}})
_SENT_RESOURCE = {
    "type": {"const": TYPE},
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
    item = closed(_ITEM_1 | {"etag": _TAG})
    return closed(
        {
            "items": {"type": "array", "items": item, "maxItems": MAX_LIMIT},
            "next_cursor": _CURSOR,
            "prev_cursor": _CURSOR,
            "total": {"type": "integer", "minimum": 0},
        },
        "total",
    )


def _page_2() -> Schema:
    url = {"type": ["string", "null"], "format": "uri-reference"}
    page = closed(
        {"next_cursor": _CURSOR, "prev_cursor": _CURSOR, "total": {"type": "integer"}}, "total"
    )
    resource = closed(_RESOURCE | {"meta": closed(_META | {"etag": _TAG})})
    return closed(
        {
            "jsonapi": _JSON_API,
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
    """What lists can be sorted by where these attributes are declared."""
    keys = ("id", "created_at", *attributes)
    return [sign + key for key in keys for sign in ("", "-")]


def search(attributes: Sequence[str]) -> Schema:
    """The body of a search where these attributes are declared."""
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
    "description": "RFC 9457; further members tell the state that was met.",
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
        "jsonapi": _JSON_API,
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
                    "meta": {"type": "object"},
                },
                "source",
                "meta",
            ),
        },
        "meta": {"type": "object"},
    },
    "meta",
)

_OPERATION_MEMBERS = {
    "id": ULID,
    "data": DATA,
    "patch": {"type": ["object", "array"], "description": "A merge patch, or a JSON Patch"},
    "if_match": {"type": "string"},
    "if_none_match": {"type": "string"},
    "idempotency_key": {"type": "string", "pattern": f"^{KEY.pattern}$"},
}
_RESULT = closed(
    {
        "status": {"type": "integer"},
        "etag": _TAG,
        "location": {"type": "string", "format": "uri-reference"},
        "replayed": {"const": True},
        "retry_after": {"type": "integer", "minimum": 1},
        "item": ref("ItemV1"),
        "problem": ref("Problem"),
    },
    *("etag", "location", "replayed", "retry_after", "item", "problem"),
)


def _batch() -> Schema:
    kinds = [
        closed(
            {name: _OPERATION_MEMBERS[name] for name in (*needed, *optional)}
            | {"op": {"const": op}},
            *optional,
        )
        for op, (needed, optional) in OPERATIONS.items()
    ]
    several = {"type": "array", "minItems": 1, "maxItems": MAX_OPERATIONS_OF_BATCH}
    return closed(
        {"operations": several | {"items": {"oneOf": kinds}}, "atomic": {"type": "boolean"}},
        "atomic",
    )


SCHEMAS: dict[str, Schema] = {
    "Batch": _batch(),
    "BatchResults": closed({"results": {"type": "array", "items": _RESULT}}),
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
