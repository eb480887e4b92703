"""JSON Schemas (2020-12) of batches and their results, for the OpenAPI document."""

from service.api.batch_body import MAX_OPERATIONS, OPERATIONS
from service.api.describe.schema_parts import DATA, TAG, TAGS, ULID, Schema, closed, ref
from service.api.headers.preconditions import KEY

_OPERATION_MEMBERS = {
    "id": ULID,
    "data": DATA,
    "patch": {"oneOf": [ref("MergePatchV1"), ref("JsonPatch")]},
    "if_match": TAGS,
    "if_none_match": TAGS,
    "idempotency_key": {"type": "string", "pattern": f"^{KEY.pattern}$"},
}


def results(version: int) -> Schema:
    """The results, each with the body that its operation alone would have had as a response."""
    answers = {
        1: {"item": ref("ItemV1"), "problem": ref("Problem")},
        2: {"document": {"oneOf": [ref("ItemV2"), ref("Errors")]}},
    }
    always = {"status": {"type": "integer"}}
    sometimes = {
        "etag": TAG,
        "location": {"type": "string", "format": "uri-reference"},
        # Not const, of which some generators make a type that is no valid name.
        "replayed": {"type": "boolean"},
        "retry_after": {"type": "integer", "minimum": 1},
    } | answers[version]
    result = closed(always | sometimes, *sometimes)
    return closed({"results": {"type": "array", "items": result}})


def batch() -> Schema:
    """The body of a batch."""
    kinds = [
        closed(
            {name: _OPERATION_MEMBERS[name] for name in (*needed, *optional)}
            | {"op": {"const": op}},
            *optional,
        )
        for op, (needed, optional) in OPERATIONS.items()
    ]
    several = {"type": "array", "minItems": 1, "maxItems": MAX_OPERATIONS}
    return closed(
        {"operations": several | {"items": {"oneOf": kinds}}, "atomic": {"type": "boolean"}},
        "atomic",
    )
