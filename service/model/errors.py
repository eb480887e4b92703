"""Every error the service can answer with, grouped by who can act on it.

Classes contain data but no HTTP: ``api/represent/problem.py`` has the only table of their status
codes, and ``docs/errors.md`` explains each ``code`` to callers.
"""

from service.model.error_kinds import CallerError as CallerError
from service.model.error_kinds import CapacityError as CapacityError
from service.model.error_kinds import DependencyError as DependencyError
from service.model.error_kinds import HotshelfError as HotshelfError
from service.model.error_kinds import Location as Location

# 400: the request itself is wrong


class InvalidSyntax(CallerError):
    code = "invalid-syntax"


class IncompleteBody(CallerError):
    code = "incomplete-body"


class InvalidParameter(CallerError):
    code = "invalid-parameter"


class InvalidCursor(CallerError):
    """The cursor is forged, truncated, or of another list or caller."""

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


# 401, 403: the caller must not do this


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


# 404 to 428: the target, or its state


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
    """The resource in the body differs from the URL's in type or id."""

    code = "resource-mismatch"


class PatchTestFailed(CallerError):
    """A ``test`` operation found another value, so it depends on the item's state."""

    code = "patch-test-failed"


class PatchConflict(CallerError):
    """The item does not have an operation's path, so it depends on the item's state."""

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
    """An operation of an atomic batch failed, so none took effect."""

    code = "batch-failed"


class SeveralShards(CallerError):
    """The items of an atomic batch are on different shards."""

    code = "several-shards"


class BodyTooLarge(CallerError):
    code = "body-too-large"


class UnsupportedMediaType(CallerError):
    code = "unsupported-media-type"


class InvalidContent(CallerError):
    code = "invalid-content"


class PatchResultInvalid(CallerError):
    """The patch is valid, but its result for this item cannot be stored."""

    code = "patch-result-invalid"


class IdempotencyKeyReused(CallerError):
    """The key was used for another request before."""

    code = "idempotency-key-reused"


class PreconditionRequired(CallerError):
    code = "precondition-required"


class TooManyHeaders(CallerError):
    code = "too-many-headers"


class HeaderTooLarge(CallerError):
    """A header field is too long; its location names it."""

    code = "header-too-large"


# 429, 503


class RateLimited(CapacityError):
    code = "rate-limited"


class Overloaded(CapacityError):
    code = "overloaded"


class AccessUnavailable(DependencyError):
    """The credentials cannot be checked, because their database or key set cannot be reached."""

    code = "access-unavailable"


class ShardUnavailable(DependencyError):
    code = "shard-unavailable"


class DefinitionChanged(DependencyError):
    """The collection's definition is not the one that the write was checked with."""

    code = "definition-changed"
    default_detail = "The definition of the collection is being changed."


class OutcomeUnknown(DependencyError):
    """COMMIT was sent but its answer was lost; the write happened completely or not at all."""

    code = "outcome-unknown"
    default_detail = "It is not known whether the change was made."


class DatabaseTimeout(DependencyError):
    code = "database-timeout"
    default_detail = "The database took too long."


class QueryTooExpensive(DependencyError):
    """An allowed list that takes too long on the present data."""

    code = "query-too-expensive"
    default_detail = "No index answers this list in time: narrow its filter."


# 500


class InternalError(HotshelfError):
    """A bug of the service: logged with the request id, reported to the caller without details."""

    code = "internal-error"
    default_detail = "Something went wrong."


class CacheUnavailable(DependencyError):
    """Redis did not answer, or answered with an error; never a sign that a key is absent.

    ``redis_error`` is the first word of the error reply (OOM, READONLY, LOADING, …), empty when
    there was no reply.
    """

    code = "cache-unavailable"
    redis_error = ""
