"""The paths of a collection for the OpenAPI document: those of items, with its own filters.

What is the same for all collections is referred to where items have it, so that a collection adds
a few kilobytes and not a few hundred.
"""

from typing import Any
from urllib.parse import quote

from service.api.describe.schema_parts import Schema, closed, ref
from service.api.describe.schemas import search, sort_keys
from service.api.headers.media_types import JSON, JSON_API, JSON_PATCH, MERGE_PATCH, V1, V2
from service.api.represent.fields import parameter_of
from service.model.collection import Collection, Read
from service.model.query import format_path
from service.model.resource import ITEMS, url_version

Paths = dict[str, dict[str, Any]]


def paths_like_items(items: Paths, collection: Collection) -> Paths:
    """``items`` are the paths that the document has for items."""
    found: Paths = {}
    for path, methods in items.items():
        target = ITEMS.match(path)
        if target is not None:
            own = collection.resource.path(target.version) + target.below
            found[own] = {
                method: _operation(path, method, operation, collection)
                for method, operation in methods.items()
            }
    return found


def schemas_of(collection: Collection) -> dict[str, Schema]:
    """The components that the paths refer to besides those of items."""
    data = collection.definition.schema
    if isinstance(data, dict) and "$id" not in data:
        # References within it lead to its own parts, not to the document's.
        data = data | {"$id": f"urn:hotshelf:{collection.name}:{collection.version}"}
    names = [format_path(path) for path in collection.definition.attributes]
    return {
        f"Data-{collection.name}": {"type": "object"} if data is None else data,
        f"Search-{collection.name}": search(names),
    }


def _operation(
    path: str, method: str, operation: dict[str, Any], collection: Collection
) -> dict[str, Any]:
    place = f"#/paths/{_pointer(path)}/{method}"
    made = {
        "operationId": f"{operation['operationId']}-{collection.name}",
        "summary": operation["summary"],
        "tags": [collection.name],
        "parameters": [
            _parameter(f"{place}/parameters/{at}", each, url_version(path), collection)
            for at, each in enumerate(operation["parameters"])
        ],
        "responses": {
            status: {"$ref": f"{place}/responses/{status}"} for status in operation["responses"]
        },
        "security": [
            {
                scheme: [_own(scope, collection) for scope in scopes]
                for scheme, scopes in one.items()
            }
            for one in operation["security"]
        ],
    }
    is_read = method in ("get", "head") or path.endswith(ITEMS.SEARCH)
    if collection.definition.read is Read.PUBLIC and is_read:
        made["security"].append({})
    if "requestBody" in operation:
        made["requestBody"] = _body(operation, url_version(path), place, collection)
    return made


def _parameter(place: str, items: dict[str, Any], version: int, of: Collection) -> dict[str, Any]:
    if items["name"] == "sort":
        names = [format_path(path) for path in of.definition.attributes]
        return items | {"schema": {"type": "string", "enum": sort_keys(names)}}
    if items["name"] == parameter_of(version, ITEMS):
        return items | {"name": parameter_of(version, of.resource)}
    return {"$ref": place}


def _body(
    operation: dict[str, Any], version: int, place: str, collection: Collection
) -> dict[str, Any]:
    data = ref(f"Data-{collection.name}")
    name = operation["operationId"].partition("ItemV")[0]
    if name in ("create", "put"):
        v1, v2 = closed({"data": data}), _resource(collection, data, name == "put")
        by_type = {JSON: v1 if version == 1 else v2, V1: v1, V2: v2, JSON_API: v2}
    elif name == "patch":
        items = operation["requestBody"]["content"]
        v2 = _resource(collection, {"type": "object"}, with_id=True)
        by_type = {each: items[each]["schema"] for each in (MERGE_PATCH, JSON_PATCH)}
        by_type |= {V2: v2, JSON_API: v2}
    elif operation["operationId"].startswith("search"):
        by_type = {JSON: ref(f"Search-{collection.name}")}
    else:
        return {"$ref": f"{place}/requestBody"}
    return {"required": True, "content": {each: {"schema": s} for each, s in by_type.items()}}


def _resource(collection: Collection, attributes: Schema, with_id: bool) -> Schema:
    members = {"type": {"const": collection.resource.json_api_type}, "attributes": attributes}
    others = {"links": {"type": "object"}, "meta": {"type": "object"}}
    own_id = {"id": {"type": "string"}} if with_id else {}
    return closed({"data": closed(members | own_id | others, "links", "meta")})


def _own(scope: str, collection: Collection) -> str:
    kind = collection.resource
    return {ITEMS.read_scope: kind.read_scope, ITEMS.write_scope: kind.write_scope}[scope]


def _pointer(path: str) -> str:
    return quote(path.replace("~", "~0").replace("/", "~1"), safe="~:")
