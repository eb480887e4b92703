"""Parts that the JSON Schemas of the OpenAPI document share."""

from typing import Any

Schema = dict[str, Any]

TIME = {"type": "string", "format": "date-time", "description": "UTC, with microseconds"}
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
CURSOR_OR_NULL = {"type": ["string", "null"]}
TAGS = {
    "type": "string",
    "pattern": r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$',
    "description": 'For example "7-5d41402a", quotes included',
}
TAG = {"type": "string", "description": "The item's entity tag, for If-Match"}


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
