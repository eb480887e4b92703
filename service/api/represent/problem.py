"""The only table from errors to HTTP: problem documents (RFC 9457), or JSON:API's."""

from typing import NamedTuple

import orjson

from service.api.headers.media_types import preferred
from service.api.represent import cursor_profile, v2_errors
from service.api.request import Reply, RequestContext
from service.model import errors
from service.model.errors import HotshelfError, Location

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:hotshelf:"


class Row(NamedTuple):
    """The HTTP status and title of an error class. ``title`` is the same in all answers."""

    status: int
    title: str


TABLE: dict[type[HotshelfError], Row] = {
    errors.InvalidSyntax: Row(400, "The body cannot be read"),
    errors.IncompleteBody: Row(400, "The body ended too early"),
    errors.InvalidParameter: Row(400, "A query parameter cannot be used"),
    errors.InvalidCursor: Row(400, "The cursor cannot be used"),
    errors.UnindexedQuery: Row(400, "No index can answer this"),
    errors.NotYetIndexed: Row(400, "The index is being built"),
    errors.InvalidHeader: Row(400, "A header field cannot be used"),
    errors.InvalidId: Row(400, "The id is not a ULID"),
    errors.IdempotencyKeyMissing: Row(400, "An idempotency key is needed"),
    errors.Unauthenticated: Row(401, "Credentials are needed"),
    errors.InvalidToken: Row(401, "The credentials are not valid"),
    errors.InvalidApiKey: Row(401, "The API key is not valid"),
    errors.InsufficientScope: Row(403, "The credentials do not allow this"),
    errors.NotOwner: Row(403, "Only the owner may change an item"),
    errors.ClientIdForbidden: Row(403, "The id is chosen by the service"),
    errors.NoSuchRoute: Row(404, "There is nothing at this path"),
    errors.NoSuchCollection: Row(404, "There is no such collection"),
    errors.ItemNotFound: Row(404, "There is no such item"),
    errors.MethodNotAllowed: Row(405, "The method is not allowed here"),
    errors.NotAcceptable: Row(406, "No acceptable representation"),
    errors.BodyTimeout: Row(408, "The body took too long to arrive"),
    errors.ResourceMismatch: Row(409, "The resource is another one"),
    errors.PatchTestFailed: Row(409, "A test of the patch failed"),
    errors.PatchConflict: Row(409, "The patch does not fit the item"),
    errors.RequestInProgress: Row(409, "The first request is still running"),
    errors.BatchFailed: Row(409, "The batch failed as a whole"),
    errors.CollectionFixed: Row(409, "The collection is defined by settings"),
    errors.CollectionNotEmpty: Row(409, "The collection holds items"),
    errors.PreconditionFailed: Row(412, "The item is in another state"),
    errors.BodyTooLarge: Row(413, "The body is too large"),
    errors.UnsupportedMediaType: Row(415, "The media type is not supported"),
    errors.InvalidContent: Row(422, "The content is not valid"),
    errors.PatchResultInvalid: Row(422, "The patched item is not valid"),
    errors.SeveralShards: Row(422, "The items are on different shards"),
    errors.IdempotencyKeyReused: Row(422, "The idempotency key was used for another request"),
    errors.PreconditionRequired: Row(428, "A precondition is needed"),
    errors.TooManyHeaders: Row(431, "The request has too many header fields"),
    errors.HeaderTooLarge: Row(431, "A header field is too large"),
    errors.RateLimited: Row(429, "Too many requests"),
    errors.InternalError: Row(500, "Internal error"),
    errors.Overloaded: Row(503, "Too much work at once"),
    errors.AccessUnavailable: Row(503, "Credentials cannot be checked"),
    errors.ShardUnavailable: Row(503, "A database cannot be reached"),
    errors.DefinitionChanged: Row(503, "The collection is being changed"),
    errors.OutcomeUnknown: Row(503, "The outcome of the write is not known"),
    errors.DatabaseTimeout: Row(503, "The database took too long"),
    errors.QueryTooExpensive: Row(503, "The list takes too long"),
    errors.CacheUnavailable: Row(503, "The cache cannot be reached"),
}

# Members of ``extra`` that are also sent as header fields.
_FIELDS = {
    "allow": "allow",
    "accept": "accept",
    "accept_encoding": "accept-encoding",
    "accept_patch": "accept-patch",
}


def problem_reply(context: RequestContext | None, error: HotshelfError) -> Reply:
    """The whole answer for an error; ``context`` is None if the request was unreadable."""
    row = TABLE[type(error)]
    media_type, body = _document(context, error, row)
    headers = [("content-type", media_type), ("cache-control", "no-store")]
    if error.replayed:
        headers.append(("idempotency-replayed", "true"))
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(error.retry_after_s)))
    headers += [
        (field, str(error.extra[name])) for name, field in _FIELDS.items() if name in error.extra
    ]
    if row.status == 401 or isinstance(error, errors.InsufficientScope):
        headers.append(("www-authenticate", _challenge(error)))
    return Reply(row.status, headers, body)


def _document(context: RequestContext | None, error: HotshelfError, row: Row) -> tuple[str, bytes]:
    """Media type and body in the requested version."""
    # Without a request id in a replay, because it repeats the first answer byte for byte.
    request = {} if context is None or error.recorded else _names(context)
    if context is not None and (asked := preferred(context)).version == 2:
        profiled = v2_errors.is_profiled(error)
        media_type = cursor_profile.media_type(asked.media_type) if profiled else asked.media_type
        return media_type, v2_errors.error_document(error, row.status, row.title, request)
    return MEDIA_TYPE, orjson.dumps(problem_document(error) | request)


def problem_document(error: HotshelfError) -> dict[str, object]:
    """The error as a problem document (RFC 9457)."""
    row = TABLE[type(error)]
    document: dict[str, object] = {
        "type": TYPE_PREFIX + error.code,
        "title": row.title,
        "status": row.status,
        "code": error.code,
        "detail": error.detail,
    }
    if error.locations:
        document["errors"] = [_error(location) for location in error.locations]
    return document | dict(error.extra)


def _names(context: RequestContext) -> dict[str, str]:
    """The ids by which operators find the request."""
    names = {"request_id": context.request_id}
    return names if context.trace is None else names | {"trace_id": context.trace.trace_id}


def _error(location: Location) -> dict[str, str]:
    named = {
        "pointer": location.pointer,
        "parameter": location.parameter,
        "header": location.header,
    }
    return {"detail": location.detail} | {k: v for k, v in named.items() if v is not None}


def _challenge(error: HotshelfError) -> str:
    """RFC 6750 section 3: no error code if no credentials were sent."""
    challenge = 'Bearer realm="hotshelf"'
    if isinstance(error, errors.InvalidToken):
        challenge += ', error="invalid_token"'
    if isinstance(error, errors.InsufficientScope):
        challenge += f', error="insufficient_scope", scope="{error.extra["scope"]}"'
    return challenge
