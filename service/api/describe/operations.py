"""The parameters, responses and errors of each operation, for the OpenAPI document."""

from dataclasses import dataclass

from service.access.scopes import ADMIN, READ, WRITE
from service.model import errors
from service.model.errors import HotshelfError
from service.model.resource import ITEMS

Errors = frozenset[type[HotshelfError]]

_ANY: Errors = frozenset(
    {
        errors.InvalidParameter,
        errors.InvalidHeader,
        errors.NoSuchRoute,
        errors.TooManyHeaders,
        errors.HeaderTooLarge,
        errors.RateLimited,
        errors.InternalError,
        errors.Overloaded,
        errors.AccessUnavailable,
    }
)
CALLER: Errors = _ANY | {
    errors.Unauthenticated,
    errors.InvalidToken,
    errors.InvalidApiKey,
    errors.InsufficientScope,
}
DATABASE: Errors = frozenset({errors.ShardUnavailable, errors.DatabaseTimeout})
_READ: Errors = CALLER | DATABASE | {errors.NotAcceptable, errors.CacheUnavailable}
BODY: Errors = frozenset(
    {
        errors.InvalidSyntax,
        errors.IncompleteBody,
        errors.BodyTimeout,
        errors.BodyTooLarge,
        errors.UnsupportedMediaType,
        errors.InvalidContent,
    }
)
_KEYED: Errors = frozenset({errors.IdempotencyKeyReused, errors.RequestInProgress})
_WRITE: Errors = CALLER | DATABASE | _KEYED | {errors.NotAcceptable, errors.DefinitionChanged}
_CHANGE: Errors = _WRITE | {errors.NotOwner, errors.PreconditionFailed, errors.OutcomeUnknown}
_LIST: Errors = _READ | {
    errors.InvalidCursor,
    errors.UnindexedQuery,
    errors.NotYetIndexed,
    errors.QueryTooExpensive,
}
# Compressed according to Accept-Encoding.
_SHOWN: Errors = _ANY | {errors.NotAcceptable}
# Only of version 2, because only a JSON:API document has a type and id of its own.
V2_ONLY: Errors = frozenset({errors.ClientIdForbidden, errors.ResourceMismatch})


@dataclass(frozen=True, slots=True)
class Success:
    """A response without a problem document.

    ``content`` and ``headers`` are names that api/describe/openapi.py knows.
    """

    status: int
    text: str
    content: str = ""
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as clients see it. Names are those that api/describe/openapi.py knows.

    ``scope`` empty: no credentials needed; requests, except probes, are limited by address.
    """

    id: str
    summary: str
    successes: tuple[Success, ...]
    errors: Errors = frozenset()
    scope: str = ""
    parameters: tuple[str, ...] = ()
    body: str = ""
    tags: tuple[str, ...] = (ITEMS.name,)


_ITEM = ("etag", "cache-control", "vary")
_WRITTEN = (*_ITEM, "idempotency-replayed")
_MINIMAL = ("etag", "idempotency-replayed", "preference-applied")

GET_ITEM = Operation(
    "getItem",
    "Read an item",
    (
        Success(200, "The item", "item", (*_ITEM, "content-encoding")),
        Success(304, "The client's copy is current", headers=_ITEM),
    ),
    _READ | {errors.ItemNotFound, errors.PreconditionFailed},
    READ,
    ("id", "fields", "if-match", "if-none-match"),
)
CREATE_ITEM = Operation(
    "createItem",
    "Create an item",
    (Success(201, "The new item", "item", (*_WRITTEN, "location", "preference-applied")),),
    _WRITE
    | BODY
    | {errors.IdempotencyKeyMissing, errors.ClientIdForbidden}
    | {errors.ResourceMismatch},
    WRITE,
    ("idempotency-key", "prefer"),
    "item",
)
PUT_ITEM = Operation(
    "putItem",
    "Replace an item, or create it with an id that the client chooses",
    (
        Success(200, "The item after the change", "item", _WRITTEN),
        Success(201, "The new item", "item", (*_WRITTEN, "location")),
        Success(204, "Changed; return=minimal was preferred", headers=_MINIMAL),
    ),
    _CHANGE
    | BODY
    | {errors.InvalidId, errors.PreconditionRequired, errors.ResourceMismatch}
    | {errors.ItemNotFound},
    WRITE,
    ("id", "if-match", "if-none-match", "optional-idempotency-key", "prefer"),
    "item",
)
PATCH_ITEM = Operation(
    "patchItem",
    "Change parts of an item: every operation of the patch, or none",
    (
        Success(200, "The item after the change", "item", _WRITTEN),
        Success(204, "Changed; return=minimal was preferred", headers=_MINIMAL),
    ),
    _CHANGE
    | BODY
    | {errors.ItemNotFound, errors.PreconditionRequired, errors.ResourceMismatch}
    | {errors.PatchTestFailed, errors.PatchConflict, errors.PatchResultInvalid},
    WRITE,
    ("id", "if-match", "optional-idempotency-key", "prefer"),
    "patch",
)
DELETE_ITEM = Operation(
    "deleteItem",
    "Delete an item",
    (Success(204, "The item is deleted", headers=("idempotency-replayed",)),),
    _CHANGE - {errors.NotAcceptable} | {errors.ItemNotFound},
    WRITE,
    ("id", "if-match", "optional-idempotency-key"),
)
_COMPRESSED = ("cache-control", "vary", "content-encoding")
_PAGE = (*_COMPRESSED, "preference-applied")
LIST_ITEMS = Operation(
    "listItems",
    "List items, a page at a time",
    (Success(200, "A page", "page", (*_PAGE, "link")),),
    _LIST,
    READ,
    ("limit", "cursor", "sort", "filter", "fields", "prefer-count"),
)
SEARCH_ITEMS = Operation(
    "searchItems",
    "List items, with the query in a JSON body",
    (Success(200, "A page", "page", _PAGE),),
    _LIST | BODY,
    READ,
    ("prefer-count",),
    "search",
)

BATCH = Operation(
    "batchItems",
    "Run many operations in one request; n operations count as n requests",
    (Success(200, "One result per operation, in their order", "batch", _COMPRESSED),),
    _READ
    | _WRITE
    | BODY
    | {errors.PreconditionRequired, errors.BatchFailed}
    | {errors.SeveralShards, errors.OutcomeUnknown},
    READ,
    body="batch",
)

LIVEZ = Operation(
    "livez",
    "Liveness probe",
    (Success(200, "The process is alive", "health"),),
    tags=("service",),
)
READYZ = Operation(
    "readyz",
    "Readiness probe",
    (
        Success(200, "The service can answer requests", "health"),
        Success(503, "The service cannot answer requests", "health", ("retry-after",)),
    ),
    tags=("service",),
)
METRICS = Operation(
    "metrics",
    f"Metrics for Prometheus; other machines need the scope {ADMIN}",
    (Success(200, "Metrics in the Prometheus text format", "metrics"),),
    CALLER,
    tags=("service",),
)
STATUS = Operation(
    "status",
    f"A page with charts of the host; other machines need the scope {ADMIN}",
    (Success(200, "The page", "html"),),
    CALLER | {errors.NotAcceptable},
    tags=("service",),
)
STATUS_ASSET = Operation(
    "statusAsset",
    "Scripts and style of that page",
    (Success(200, "The file", "asset"),),
    CALLER | {errors.NotAcceptable},
    parameters=("asset",),
    tags=("service",),
)
STATUS_DATA = Operation(
    "statusData",
    "The numbers of that page; its members may change with any version",
    (Success(200, "The numbers", "json"),),
    CALLER | {errors.NotAcceptable},
    tags=("service",),
)
_TAGGED = ("etag", "cache-control", "vary")
OPENAPI = Operation(
    "openapi",
    "This OpenAPI document",
    (
        Success(200, "The OpenAPI document", "json", _TAGGED),
        Success(304, "The client's copy is current", headers=_TAGGED),
    ),
    _SHOWN,
    parameters=("if-none-match",),
    tags=("service",),
)
DOCS = Operation(
    "docs",
    "Interactive documentation",
    (Success(200, "The documentation page", "html"),),
    _SHOWN,
    tags=("service",),
)
DOCS_ASSET = Operation(
    "docsAsset",
    "Scripts and styles of the documentation page",
    (Success(200, "A script or a style sheet", "asset"),),
    _SHOWN,
    parameters=("asset",),
    tags=("service",),
)
TOKEN = Operation(
    "token",
    "An access token for a client (RFC 6749 section 4.4)",
    (
        Success(200, "A token", "token"),
        Success(400, "The request is refused (RFC 6749 section 5.2)", "oauth-error"),
        Success(401, "The client's credentials are wrong", "oauth-error"),
    ),
    _ANY
    | {errors.BodyTooLarge, errors.BodyTimeout, errors.IncompleteBody, errors.InvalidSyntax}
    | {errors.UnsupportedMediaType},
    body="token",
    tags=("access",),
)
JWKS = Operation(
    "jwks",
    "The public keys of the built-in issuer",
    (Success(200, "A JWK Set (RFC 7517)", "jwks"),),
    _ANY,
    tags=("access",),
)
AUTHORIZATION_SERVER = Operation(
    "authorizationServer",
    "Metadata of the built-in issuer",
    (Success(200, "Authorization server metadata (RFC 8414)", "json"),),
    _ANY,
    tags=("access",),
)
PROTECTED_RESOURCE = Operation(
    "protectedResource",
    "Metadata of this service as a protected resource",
    (Success(200, "Protected resource metadata (RFC 9728)", "json"),),
    _ANY,
    tags=("access",),
)
