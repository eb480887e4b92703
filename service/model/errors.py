"""Every error the service can answer with, by who can act on it.

Classes carry data and no HTTP: ``api/represent/problem.py`` holds the only table that makes status
codes of them, and ``docs/errors.md`` explains each ``code`` to callers.
"""

from service.model.error_kinds import CallerError as CallerError
from service.model.error_kinds import CapacityError as CapacityError
from service.model.error_kinds import DependencyError as DependencyError
from service.model.error_kinds import HotshelfError as HotshelfError
from service.model.error_kinds import Location as Location

# 400: what the request alone decides


class InvalidSyntax(CallerError):
    code = "invalid-syntax"


class IncompleteBody(CallerError):
    code = "incomplete-body"


class InvalidParameter(CallerError):
    code = "invalid-parameter"


class InvalidCursor(CallerError):
    """Forged, cut off, or made for another list or caller."""

    code = "invalid-cursor"


class UnindexedQuery(CallerError):
    """A list that no index can answer; ``extra`` names what is allowed."""

    code = "unindexed-query"


class NotYetIndexed(CallerError):
    """The index of a declared attribute is being built; ``extra`` says how far it is."""

    code = "not-yet-indexed"


class InvalidHeader(CallerError):
    code = "invalid-header"


class InvalidId(CallerError):
    code = "invalid-id"


class IdempotencyKeyMissing(CallerError):
    code = "idempotency-key-missing"


# 401, 403: who may


class Unauthenticated(CallerError):
    code = "unauthenticated"


class InvalidToken(CallerError):
    code = "invalid-token"


class InvalidApiKey(CallerError):
    code = "invalid-api-key"


class InsufficientScope(CallerError):
    code = "insufficient-scope"


class NotOwner(CallerError):
    code = "not-owner"


class ClientIdForbidden(CallerError):
    """A POST that names the id of what it creates (JSON:API, "Client-Generated IDs")."""

    code = "client-id-forbidden"


# 404 to 428: what is asked for, and in which state


class NoSuchRoute(CallerError):
    code = "no-such-route"


class NoSuchCollection(CallerError):
    code = "no-such-collection"
    default_detail = "There is no collection of this name."


class ItemNotFound(CallerError):
    code = "item-not-found"
    default_detail = "There is no item with this id."


class MethodNotAllowed(CallerError):
    code = "method-not-allowed"


class NotAcceptable(CallerError):
    code = "not-acceptable"


class BodyTimeout(CallerError):
    code = "body-timeout"


class ResourceMismatch(CallerError):
    """The resource in a body is of another type, or another one, than the URL's."""

    code = "resource-mismatch"


class PatchTestFailed(CallerError):
    """A ``test`` operation found another value; the item's state decided."""

    code = "patch-test-failed"


class PatchConflict(CallerError):
    """An operation's path is not in the item, so its state decided."""

    code = "patch-conflict"


class RequestInProgress(CallerError):
    """The first request with this idempotency key has not ended yet."""

    code = "request-in-progress"
    default_detail = "The first request with this key is still running."
    default_retry_after_s = 1


class CollectionFixed(CallerError):
    """The collection that always exists, which is defined by settings."""

    code = "collection-fixed"
    default_detail = "This collection always exists and is defined by settings."


class CollectionNotEmpty(CallerError):
    """A collection that holds items is dropped only with a confirmation."""

    code = "collection-not-empty"


class PreconditionFailed(CallerError):
    code = "precondition-failed"


class BatchFailed(CallerError):
    """An operation of an atomic batch cannot be done, so none was."""

    code = "batch-failed"


class SeveralShards(CallerError):
    """An atomic batch names items that no single database holds."""

    code = "several-shards"


class BodyTooLarge(CallerError):
    code = "body-too-large"


class UnsupportedMediaType(CallerError):
    code = "unsupported-media-type"


class InvalidContent(CallerError):
    code = "invalid-content"


class PatchResultInvalid(CallerError):
    """The patch is sound, but what it makes of this item could not be stored."""

    code = "patch-result-invalid"


class IdempotencyKeyReused(CallerError):
    """The key was used for another request before."""

    code = "idempotency-key-reused"


class PreconditionRequired(CallerError):
    code = "precondition-required"


class TooManyHeaders(CallerError):
    code = "too-many-headers"


class HeaderTooLarge(CallerError):
    """One field is longer than it may be; its location names it."""

    code = "header-too-large"


# 429, 503


class RateLimited(CapacityError):
    code = "rate-limited"


class Overloaded(CapacityError):
    code = "overloaded"


class AccessUnavailable(DependencyError):
    """Neither yes nor no: what the credentials are checked against cannot be reached."""

    code = "access-unavailable"


class ShardUnavailable(DependencyError):
    code = "shard-unavailable"


class DefinitionChanged(DependencyError):
    """The collection's definition is not the one that the write was checked with."""

    code = "definition-changed"
    default_detail = "The definition of the collection is being changed."


class OutcomeUnknown(DependencyError):
    """COMMIT was sent and its answer was lost; the write is whole or did not happen."""

    code = "outcome-unknown"
    default_detail = "Whether the change was made is not known."


class DatabaseTimeout(DependencyError):
    code = "database-timeout"
    default_detail = "The database took too long."


class QueryTooExpensive(DependencyError):
    """A list that is allowed, but takes longer than it may on the data as it is."""

    code = "query-too-expensive"
    default_detail = "No index answers this list in time: narrow its filter."


# 500


class InternalError(HotshelfError):
    """A fault of ours: logged with the request id, told to the caller without any detail."""

    code = "internal-error"
    default_detail = "Something went wrong."


class CacheUnavailable(DependencyError):
    """Redis did not answer, or answered with an error; never a sign that a key is absent.

    ``redis_error`` is the first word of the error reply (OOM, READONLY, LOADING, …), empty when
    there was no reply.
    """

    code = "cache-unavailable"
    redis_error = ""
