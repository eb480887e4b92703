"""JSON Schemas (2020-12) of collections, for the OpenAPI document."""

from service.api.describe.schema_parts import TIME, Schema, closed
from service.model.collection import ATTRIBUTES_MAX, TTL_MAX_S, Read, WriteRule

_DEFINITION: Schema = {
    "schema": {
        "type": ["object", "boolean", "null"],
        "description": "A JSON Schema (2020-12) that the data of every write must match",
    },
    "attributes": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": ATTRIBUTES_MAX,
        "description": "What lists can be sorted by and filtered by range",
    },
    "read": {"enum": list(Read), "description": "Who may read"},
    "write": {"enum": list(WriteRule), "description": "Who may change an item"},
    "ttl_s": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": TTL_MAX_S,
        "description": "An item ends so many seconds after its last change",
    },
    "max_bytes": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 1 << 31,
        "description": "Of an item's data, as it is sent",
    },
    "description": {"type": "string", "maxLength": 1000},
}
_READ_ONLY: Schema = {
    "name": {"type": "string"},
    "version": {"type": "integer", "minimum": 0},
    "updated_at": TIME | {"type": ["string", "null"]},
}
_COLLECTION = closed(_READ_ONLY | _DEFINITION)
_COUNT: Schema = {"type": "integer", "minimum": 0}
_WITHOUT_SCHEMA = {name: shape for name, shape in _DEFINITION.items() if name != "schema"}

COLLECTION_SCHEMAS: dict[str, Schema] = {
    "Collection": _COLLECTION,
    "Collections": closed(
        {"collections": {"type": "array", "items": closed(_READ_ONLY | _WITHOUT_SCHEMA)}}
    ),
    "Indexes": closed(
        {
            "indexes": {
                "type": "array",
                "items": closed({"attribute": {"type": "string"}, "done": _COUNT, "total": _COUNT}),
            }
        }
    ),
    "Definition": closed(_READ_ONLY | _DEFINITION, *_READ_ONLY, *_DEFINITION),
}
