"""The operations of collections themselves, for the OpenAPI document."""

from service.access.scopes import ADMIN
from service.api.describe.operations import BODY, CALLER, DATABASE, Errors, Operation, Success
from service.model import errors

_COLLECTION = ("etag", "cache-control")
_OPERATOR: Errors = CALLER | DATABASE
_CONDITIONAL: Errors = frozenset({errors.PreconditionFailed})
_REPLAYED = "idempotency-replayed"

LIST_COLLECTIONS = Operation(
    "listCollections",
    "All collections, without their schemas",
    (Success(200, "The collections, by name", "collections", ("cache-control",)),),
    CALLER,
    ADMIN,
    tags=("collections",),
)
GET_COLLECTION = Operation(
    "getCollection",
    "A collection's definition",
    (
        Success(200, "The definition", "collection", _COLLECTION),
        Success(304, "The client's copy is current", headers=_COLLECTION),
    ),
    _OPERATOR | _CONDITIONAL | {errors.NoSuchCollection},
    ADMIN,
    ("collection", "if-match", "if-none-match"),
    tags=("collections",),
)
GET_INDEXES = Operation(
    "getIndexes",
    "How far the index of each declared attribute is built",
    (Success(200, "The declared attributes", "indexes", ("cache-control",)),),
    _OPERATOR | {errors.NoSuchCollection},
    ADMIN,
    ("collection",),
    tags=("collections",),
)
PUT_COLLECTION = Operation(
    "putCollection",
    "Make a collection, or change its definition; in force when it is answered",
    (
        Success(200, "The definition as it is now", "collection", (*_COLLECTION, _REPLAYED)),
        Success(201, "The new collection", "collection", (*_COLLECTION, _REPLAYED, "location")),
    ),
    _OPERATOR
    | _CONDITIONAL
    | BODY
    | {errors.CollectionFixed, errors.PreconditionRequired, errors.ResourceMismatch}
    | {errors.IdempotencyKeyReused},
    ADMIN,
    ("collection", "if-match", "if-none-match", "optional-idempotency-key"),
    "definition",
    ("collections",),
)
DROP_COLLECTION = Operation(
    "dropCollection",
    "Drop a collection, at once for readers; its items are removed in the background",
    (Success(204, "The collection is dropped", headers=(_REPLAYED,)),),
    _OPERATOR
    | _CONDITIONAL
    | {errors.NoSuchCollection, errors.CollectionFixed, errors.CollectionNotEmpty}
    | {errors.IdempotencyKeyReused},
    ADMIN,
    ("collection", "force", "confirm-drop", "if-match", "optional-idempotency-key"),
    tags=("collections",),
)
