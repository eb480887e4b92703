"""Parameters of operations, in path, query and header fields, for the OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from service.api.describe.operations import PATCH_ITEM, Operation
from service.api.describe.schema_parts import CURSOR, TAGS, ULID
from service.api.describe.schemas import sort_keys
from service.api.list_query import CURSOR_NAMES, LIMIT_NAME
from service.api.represent.fields import parameter_of
from service.model.collection import NAME
from service.model.query import DEFAULT_LIMIT, MAX_LIMIT
from service.model.resource import ITEMS


def parameters(
    operation: Operation, version: int, attributes: Sequence[str], require_if_match: bool
) -> list[dict[str, Any]]:
    """The parameters of an operation in one version. ``attributes`` are the declared ones."""
    found = [_parameter(name, version, attributes) for name in _names(operation, version)]
    if operation is PATCH_ITEM and require_if_match:
        # A PUT may send If-None-Match instead, which OpenAPI cannot say.
        return [one | {"required": one["required"] or one["name"] == "If-Match"} for one in found]
    return found


def _names(operation: Operation, version: int) -> list[str]:
    """Version 2 has a parameter for each direction of a cursor."""
    back = version == 2 and "cursor" in operation.parameters
    return [*operation.parameters, *(["cursor-back"] if back else [])]


def _parameter(name: str, version: int, attributes: Sequence[str]) -> dict[str, Any]:
    """A parameter by its name in ``operations``."""
    text = {"type": "string"}
    match name:
        case "id":
            return _in("path", "id", "The item's id", ULID, required=True)
        case "collection":
            pattern = f"^{NAME.pattern}$"
            return _in(
                "path",
                "collection",
                "The collection's name",
                text | {"pattern": pattern},
                required=True,
            )
        case "force":
            choices = {"enum": ["true", "false", ""]}
            return _in("query", "force", "Drop it with its items", choices)
        case "asset":
            return _in("path", "asset", "A file's name", text, required=True)
        case "fields":
            return _in(
                "query",
                parameter_of(version, ITEMS),
                "Members of data to include, comma-separated",
                text,
            )
        case "limit":
            limits = {"minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
            return _in(
                "query", LIMIT_NAME[version], "Items on a page", {"type": "integer"} | limits
            )
        case "cursor":
            return _in("query", CURSOR_NAMES[version]["next"], "The next_cursor of a page", CURSOR)
        case "cursor-back":
            return _in("query", CURSOR_NAMES[version]["prev"], "The prev_cursor of a page", CURSOR)
        case "sort":
            words = "Prefix - for descending order; ties are ordered by id"
            return _in("query", "sort", words, text | {"enum": sort_keys(attributes)})
        case "filter":
            named = {"propertyNames": {"pattern": r"^\w+$"}, "additionalProperties": text}
            schema = {"type": "object"} | named
            words = "filter[attribute]=value, or filter[attribute][operator]=value"
            return _in("query", "filter", words, schema) | {"style": "deepObject", "explode": True}
    return _HEADER_PARAMETERS[name]


def _in(place: str, name: str, text: str, schema: Any, required: bool = False) -> dict[str, Any]:
    return {"in": place, "name": name, "description": text, "schema": schema, "required": required}


_KEY = {"type": "string", "pattern": "^[!#-~]{1,255}$"}
_HEADER_PARAMETERS = {
    "if-match": _in(
        "header",
        "If-Match",
        "Entity tags; the item must have one of them",
        TAGS,
    ),
    "if-none-match": _in(
        "header",
        "If-None-Match",
        "Entity tags; the item must have none of them",
        TAGS,
    ),
    "idempotency-key": _in(
        "header",
        "Idempotency-Key",
        "A retry with the same key changes nothing",
        _KEY,
        required=True,
    ),
    "optional-idempotency-key": _in(
        "header", "Idempotency-Key", "A retry with the same key changes nothing", _KEY
    ),
    "confirm-drop": _in(
        "header",
        "Confirm-Drop",
        "The collection's name once more, where force is set",
        {"type": "string"},
    ),
    "prefer": _in(
        "header",
        "Prefer",
        "return=minimal omits the body (RFC 7240); unknown preferences are ignored",
        {"type": "string"},
    ),
    "prefer-count": _in(
        "header",
        "Prefer",
        "count=estimated or count=exact adds the number of items in the whole list",
        {"type": "string"},
    ),
}
EVERYWHERE = (
    _in(
        "header",
        "X-Request-Id",
        "Echoed if it has 1 to 128 plain characters, else ignored",
        {"type": "string"},
    ),
    _in(
        "header",
        "traceparent",
        "The trace that the request belongs to (W3C Trace Context); ignored if malformed",
        {"type": "string"},
    ),
)
