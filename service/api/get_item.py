"""GET and HEAD of one item: who asks, may they, where the bytes are, how to answer."""

from collections.abc import Awaitable, Callable

from service.access import scopes
from service.access.tokens import Caller
from service.api.codings import choose_coding
from service.api.fields import chosen_fields, tag_suffix
from service.api.item_id import existing_id
from service.api.item_reply import ItemReplies
from service.api.media_types import check_accept
from service.api.preconditions import conditions_of
from service.api.query import parameters
from service.api.request import Reply, RequestContext
from service.items.reader import Reader
from service.model.entity_tag import precondition_failed
from service.model.errors import ItemNotFound

Enter = Callable[[RequestContext], Awaitable[Caller]]


class GetItem:
    """Answers reads of one item; the only read path there is."""

    def __init__(self, enter: Enter, reader: Reader, replies: ItemReplies) -> None:
        self._enter = enter
        self._reader = reader
        self._replies = replies

    async def __call__(self, context: RequestContext) -> Reply:
        """The whole answer; raises the errors that a read can end with."""
        caller = context.caller or await self._enter(context)
        scopes.require(caller, scopes.READ)
        item_id = existing_id(context)
        fields = chosen_fields(parameters(context.query_string, ("fields",)))
        media_type = check_accept(context.headers)
        coding = choose_coding(", ".join(context.headers.get("accept-encoding", ())))
        conditions = conditions_of(context.headers)
        stored = await self._reader.found(item_id, caller.subject)
        if stored is None:
            raise ItemNotFound("There is no item with this id.")
        entry = stored.entry
        if conditions.if_match is not None and not conditions.if_match.matches_strongly(entry):
            raise precondition_failed("if-match", entry)
        unchanged = conditions.if_none_match is not None and (
            conditions.if_none_match.matches_weakly(entry)
        )
        if fields is not None:
            if unchanged:
                return self._replies.not_modified(entry, tag_suffix(fields))
            return self._replies.selected(entry.item(item_id), media_type, fields)
        form = self._replies.form(stored, media_type, coding)
        return Reply(304, form.headers[1:4]) if unchanged else Reply(200, form.headers, form.body)
