"""The operations of collections themselves, for the OpenAPI document."""

from service.access.scopes import ADMIN
from service.api.describe.operations import BODY, CALLER, DATABASE, Errors, Operation, Success
from service.model import errors

_COLLECTION = ("etag", "cache-control")
_OPERATOR: Errors = CALLER | DATABASE
_CONDITIONAL: Errors = frozenset({errors.PreconditionFailed})

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
        Success(200, "The definition as it is now", "collection", _COLLECTION),
        Success(201, "The new collection", "collection", (*_COLLECTION, "location")),
    ),
    _OPERATOR
    | _CONDITIONAL
    | BODY
    | {errors.CollectionFixed, errors.PreconditionRequired, errors.ResourceMismatch},
    ADMIN,
    ("collection", "if-match", "if-none-match"),
    "definition",
    ("collections",),
)
DROP_COLLECTION = Operation(
    "dropCollection",
    "Drop a collection, at once for readers; its items are removed in the background",
    (Success(204, "The collection is dropped"),),
    _OPERATOR
    | _CONDITIONAL
    | {errors.NoSuchCollection, errors.CollectionFixed, errors.CollectionNotEmpty},
    ADMIN,
    ("collection", "force", "confirm-drop", "if-match"),
    tags=("collections",),
)
