"""GET /openapi.json: an OpenAPI 3.1 document of the routes, their operations and the errors.

It is built from the routes that are served and the table of errors, so that it lists every
operation and every error; summaries and schemas are in ``operations`` and ``schemas``.
"""

from collections.abc import Iterable, Sequence
from importlib.metadata import version as version_of
from typing import Any, NamedTuple

from service.access import scopes
from service.access.credential_kinds import KINDS
from service.api.describe.collection_paths import paths_like_items, schemas_of
from service.api.describe.headers import HEADERS, error_headers
from service.api.describe.operations import V2_ONLY, Operation, Success
from service.api.describe.parameters import EVERYWHERE, parameters
from service.api.describe.schema_parts import ref
from service.api.describe.schemas import SCHEMAS, search
from service.api.headers import media_types
from service.api.headers.media_types import JSON_API, JSON_PATCH, MERGE_PATCH, OFFERED, V1, V2
from service.api.oauth2 import FORM
from service.api.represent.problem import MEDIA_TYPE, TABLE
from service.model.collection import Collection
from service.model.errors import HotshelfError
from service.model.resource import ITEMS, url_version
from service.settings import Settings

JSON = media_types.JSON
# Of some 10 kB each.
COLLECTIONS_MAX = 100
_BY_VERSION = {"item": "Item", "page": "Page", "batch": "BatchResults"}
_CONTENTS = {
    "collection": (JSON, "Collection"),
    "collections": (JSON, "Collections"),
    "indexes": (JSON, "Indexes"),
    "health": (JSON, "Health"),
    "json": (JSON, "Json"),
    "jwks": ("application/jwk-set+json", "Json"),
    "token": (JSON, "Token"),
    "oauth-error": (JSON, "OAuthError"),
}
_TEXTS = {
    "metrics": ("text/plain; version=0.0.4; charset=utf-8",),
    "html": ("text/html; charset=utf-8",),
    "asset": ("text/javascript; charset=utf-8", "text/css; charset=utf-8"),
}


class Documented(NamedTuple):
    """A route for the document; ``path`` has its parameters as ``:name``."""

    method: str
    path: str
    operation: Operation


def build(
    routes: Iterable[Documented], settings: Settings, collections: Sequence[Collection] = ()
) -> dict[str, Any]:
    """The document of all ``routes``, except aliases without a version.

    Of ``collections``, which are all but items, the first COLLECTIONS_MAX have paths of their own.
    """
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation in routes:
        target = ITEMS.match(path)
        if target is not None and target.version is None:
            continue
        template = "/".join(f"{{{s[1:]}}}" if s[:1] == ":" else s for s in path.split("/"))
        methods = ("get", "head") if method == "GET" else (method.lower(),)
        for each in methods:
            paths.setdefault(template, {})[each] = _operation(each, path, operation, settings)
    shown = collections[:COLLECTIONS_MAX]
    own_schemas: dict[str, Any] = {}
    items_paths = dict(paths)
    for collection in shown:
        paths |= paths_like_items(items_paths, collection)
        own_schemas |= schemas_of(collection)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Hotshelf",
            "version": version_of("hotshelf"),
            "description": "JSON items. A vendor media type in Accept takes precedence over the "
            f"version in the URL; {ITEMS.path(None)} means {ITEMS.path(1)}. Request bodies may be "
            f"compressed with gzip; the limit is {settings.http.body_max_bytes} bytes. "
            f"{len(shown)} of {len(collections)} collections besides {ITEMS.name} are shown; all "
            "have the same operations.",
        },
        "servers": [{"url": settings.http.public_url or "/"}],
        "tags": [
            {"name": ITEMS.name},
            *({"name": c.name, "description": c.definition.description} for c in shown),
            {"name": "collections"},
            {"name": "access"},
            {"name": "service"},
        ],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS | {"Search": search(settings.lists.attributes)} | own_schemas,
            "headers": HEADERS,
            "securitySchemes": _security_schemes(),
        },
    }


def _security_schemes() -> dict[str, Any]:
    offered = {
        scopes.READ: f"read {ITEMS.name}",
        scopes.WRITE: f"change own {ITEMS.name}",
        scopes.ADMIN: f"change all {ITEMS.name}, see /metrics",
    }
    flow = {"tokenUrl": "/oauth2/token", "scopes": offered}
    return {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "oauth2": {"type": "oauth2", "flows": {"clientCredentials": flow}},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }


def _operation(method: str, path: str, operation: Operation, settings: Settings) -> dict[str, Any]:
    version = url_version(path)
    versioned = ITEMS.match(path) is not None
    suffix = f"V{version}" if versioned else ""
    described: dict[str, Any] = {
        "operationId": ("head_" if method == "head" else "") + operation.id + suffix,
        "summary": operation.summary,
        "tags": list(operation.tags),
        "parameters": [
            *parameters(
                operation, version, settings.lists.attributes, settings.writes.require_if_match
            ),
            *(EVERYWHERE if versioned else []),
        ],
        "responses": _responses(method, version, versioned, operation),
        "security": [
            {scheme: [operation.scope] if scheme == "oauth2" else []}
            for kind in KINDS
            for scheme in kind.schemes
            if operation.scope
        ],
    }
    if operation.body:
        described["requestBody"] = {"required": True, "content": _sent(operation, version)}
    return described


def _responses(method: str, version: int, versioned: bool, operation: Operation) -> dict[str, Any]:
    without = V2_ONLY if not versioned else frozenset()
    found: dict[str, Any] = {}
    for error in sorted(operation.errors - without, key=lambda e: e.code):
        found.setdefault(str(TABLE[error].status), []).append(error)
    responses = {
        status: _error_response(int(status), classes, operation, version, method)
        for status, classes in found.items()
    }
    for success in operation.successes:
        responses[str(success.status)] = _success(method, version, versioned, operation, success)
    return dict(sorted(responses.items()))


def _success(
    method: str, version: int, versioned: bool, operation: Operation, success: Success
) -> dict[str, Any]:
    names = [*success.headers, *_always(operation, versioned)]
    response: dict[str, Any] = {
        "description": success.text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if success.content and method != "head":
        response["content"] = _content(success.content, version)
    return response


def _always(operation: Operation, versioned: bool) -> list[str]:
    """The header fields of every answer to it."""
    names = ["x-request-id"]
    if operation.errors:
        names += ["ratelimit", "ratelimit-policy"]
    if versioned:
        names += ["server-timing", "cache-status", "traceparent", "deprecation", "sunset"]
    return names


def _error_response(
    status: int,
    classes: Sequence[type[HotshelfError]],
    operation: Operation,
    version: int,
    method: str,
) -> dict[str, Any]:
    lines = [f"`{error.code}`: {TABLE[error].title}" for error in classes]
    names = [*error_headers(status, classes), *_always(operation, bool(operation.scope))]
    response: dict[str, Any] = {
        "description": "\n\n".join(lines),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if method != "head":
        codes = sorted(error.code for error in classes)
        problem = {"allOf": [ref("Problem"), {"properties": {"code": {"enum": codes}}}]}
        json_api = {
            each.media_type: ref("Errors") for each in OFFERED[version] if each.version == 2
        }
        shown = {MEDIA_TYPE: {"schema": problem}} | {
            name: {"schema": schema} for name, schema in json_api.items()
        }
        response["content"] = shown if version == 1 else dict(reversed(shown.items()))
    return response


def _content(name: str, version: int) -> dict[str, Any]:
    if name in _TEXTS:
        return {media_type: {"schema": {"type": "string"}} for media_type in _TEXTS[name]}
    if name in _CONTENTS:
        media_type, schema = _CONTENTS[name]
        return {media_type: {"schema": ref(schema)}}
    return {
        each.media_type: {"schema": ref(f"{_BY_VERSION[name]}V{each.version}")}
        for each in OFFERED[version]
    }


def _sent(operation: Operation, version: int) -> dict[str, Any]:
    v2 = {"createItem": "NewItemV2", "patchItem": "ItemUpdateV2"}.get(operation.id, "SentItemV2")
    by_version = {1: "NewItemV1", 2: v2}
    shapes: dict[str, str]
    match operation.body:
        case "item":
            shapes = {JSON: by_version[version], V1: by_version[1], V2: v2, JSON_API: v2}
        case "patch":
            shapes = {
                MERGE_PATCH: f"MergePatchV{version}",
                JSON_PATCH: "JsonPatch",
                V2: v2,
                JSON_API: v2,
            }
        case "batch":
            shapes = {JSON: "Batch", V1: "Batch", V2: "Batch"}
        case "search":
            shapes = {JSON: "Search"}
        case "definition":
            shapes = {JSON: "Definition"}
        case _:
            shapes = {FORM: "TokenRequest"}
    return {media_type: {"schema": ref(name)} for media_type, name in shapes.items()}
