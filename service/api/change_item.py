"""POST, PUT and DELETE of items: from the request to a change and back to an answer."""

from service.access import scopes
from service.access.tokens import Caller
from service.api import v1
from service.api.item_id import chosen_id, existing_id
from service.api.item_reply import ItemReplies
from service.api.media_types import check_accept, check_item_body
from service.api.preconditions import conditions_of, required_idempotency_key
from service.api.prefer import wants_minimal
from service.api.query import parameters
from service.api.request import Reply, RequestContext
from service.items.write import Conditions, ItemWriter
from service.model.errors import Place, PreconditionRequired


class ChangeItem:
    """The write methods. Each returns the whole answer and raises the errors it can name."""

    def __init__(self, writer: ItemWriter, replies: ItemReplies, require_if_match: bool) -> None:
        self._writer = writer
        self._replies = replies
        self._require_if_match = require_if_match

    async def post(self, context: RequestContext) -> Reply:
        """Create an item under a new id."""
        media_type = self._check_request(context)
        key = required_idempotency_key(context.headers)
        data = await _data(context)
        caller = _writer(context)
        item = await self._writer.create(caller, key, data)
        return self._replies.changed(item, media_type, 201, wants_minimal(context.headers))

    async def put(self, context: RequestContext) -> Reply:
        """Replace an item, or create one under the id that the client chose."""
        item_id = chosen_id(context)
        media_type = self._check_request(context)
        conditions = conditions_of(context.headers)
        self._check_precondition_sent(conditions)
        data = await _data(context)
        caller = _writer(context)
        item, created = await self._writer.replace(caller, item_id, data, conditions)
        status = 201 if created else 200
        return self._replies.changed(item, media_type, status, wants_minimal(context.headers))

    async def delete(self, context: RequestContext) -> Reply:
        """Delete an item; what stays is a tombstone."""
        item_id = existing_id(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        await self._writer.delete(_writer(context), item_id, conditions)
        return Reply(204, [])

    def _check_request(self, context: RequestContext) -> str:
        """What headers and query alone decide; returns the media type to answer with."""
        check_item_body(context.headers)
        media_type = check_accept(context.headers)
        parameters(context.query_string, ())
        return media_type

    def _check_precondition_sent(self, conditions: Conditions) -> None:
        creates = conditions.if_none_match is not None and conditions.if_none_match.any
        if self._require_if_match and conditions.if_match is None and not creates:
            raise PreconditionRequired(
                "Send If-Match with the tag of the version that is to be replaced, "
                "or If-None-Match: * to create.",
                Place("is missing", header="if-match"),
            )


async def _data(context: RequestContext) -> bytes:
    return v1.parse_body(await context.read_body())


def _writer(context: RequestContext) -> Caller:
    assert context.caller is not None
    scopes.require(context.caller, scopes.WRITE)
    return context.caller
