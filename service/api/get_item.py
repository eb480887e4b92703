"""GET and HEAD of one item: who asks, may they, where the bytes are, how to answer."""

from collections.abc import Awaitable, Callable

from service.access import scopes
from service.access.tokens import Caller
from service.api.fields import chosen_fields
from service.api.item_id import existing_id
from service.api.item_reply import ItemReplies
from service.api.media_types import check_accept
from service.api.preconditions import conditions_of
from service.api.query import parameters
from service.api.request import Reply, RequestContext
from service.flow.deadline import within
from service.model.entity_tag import precondition_failed
from service.model.errors import DatabaseTimeout, ItemNotFound
from service.model.item import Item
from service.store.reads import read_item
from service.store.shards import Shards

Enter = Callable[[RequestContext], Awaitable[Caller]]


class GetItem:
    """Answers reads of one item; the only read path there is."""

    def __init__(
        self, enter: Enter, shards: Shards, replies: ItemReplies, timeout_s: float
    ) -> None:
        self._enter = enter
        self._shards = shards
        self._replies = replies
        self._timeout_s = timeout_s

    async def __call__(self, context: RequestContext) -> Reply:
        """The whole answer; raises the errors that a read can end with."""
        caller = context.caller or await self._enter(context)
        scopes.require(caller, scopes.READ)
        item_id = existing_id(context)
        fields = chosen_fields(parameters(context.query_string, ("fields",)))
        media_type = check_accept(context.headers)
        conditions = conditions_of(context.headers)
        item = await self._living_item(item_id)
        if conditions.if_match is not None and not conditions.if_match.matches_strongly(item):
            raise precondition_failed("if-match", item)
        if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(item):
            return self._replies.not_modified(item, fields)
        if fields is not None:
            return self._replies.selected(item, media_type, fields)
        return self._replies.whole(item, media_type)

    async def _living_item(self, item_id: bytes) -> Item:
        try:
            item = await within(self._timeout_s, self._read(item_id))
        except TimeoutError:
            raise DatabaseTimeout("The database took too long.", retry_after_s=1) from None
        if item is None or item.deleted:
            raise ItemNotFound("There is no item with this id.")
        return item

    async def _read(self, item_id: bytes) -> Item | None:
        return await read_item(await self._shards.of(item_id), item_id)
