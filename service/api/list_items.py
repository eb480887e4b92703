"""GET and HEAD of /items, and searches: a page of items with links to its neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode

from service.api.headers.content_codings import choose_coding, coded
from service.api.headers.media_types import (
    Representation,
    check_accept,
    check_item_body,
    readable,
)
from service.api.headers.prefer import wanted_count
from service.api.list_query import (
    CURSOR_NAMES,
    SEARCH_MAX_BYTES,
    ListRequest,
    from_body,
    from_query_string,
)
from service.api.query import parameters
from service.api.represent import cursor_profile, v1, v2
from service.api.represent.fields import select
from service.api.represent.item_reply import ItemReplies
from service.api.request import Reply, RequestContext
from service.items.collection_indexes import CollectionIndexes
from service.items.cursor import Cursors
from service.items.filters import check_allowed
from service.items.pages import Pages
from service.items.visibility import extent_of
from service.model.entity_tag import entity_tag
from service.model.item import Item


class ListItems:
    """Answers lists of the collection that a request's path is of."""

    def __init__(
        self,
        pages: Pages,
        cursors: Cursors,
        replies: ItemReplies,
        indexes: CollectionIndexes,
    ) -> None:
        self._pages = pages
        self._cursors = cursors
        self._replies = replies
        self._collections = indexes.collections
        self._indexes = indexes
        self._public_url = replies.public_url

    async def get(self, context: RequestContext) -> Reply:
        """The list for the query string, with Link to the neighbouring pages (RFC 8288)."""
        wanted, coding = readable(context), choose_coding(context.headers)
        asked = from_query_string(context.query_string, wanted.version, context.collection.resource)
        answer = await self._current_answer(context, asked)
        wanted, base_url = readable(context), self._public_url.of(context)
        links = _links(context, base_url, answer.cursors, wanted.version)
        reply = self._reply(context, asked, answer, wanted, base_url, links)
        reply = self._replies.until_ended(reply, wanted, context.collection, 0)
        shown = [f'<{url}>; rel="{relation}"' for relation, url in links.items() if url]
        if shown:
            reply.headers.append(("link", ", ".join(shown)))
        return await coded(reply, coding)

    async def search(self, context: RequestContext) -> Reply:
        """The list for the query in the body."""
        check_item_body(context)
        wanted, coding = check_accept(context), choose_coding(context.headers)
        parameters(context.query_string, ())
        asked = from_body(await context.read_body(SEARCH_MAX_BYTES))
        answer = await self._current_answer(context, asked)
        base_url = self._public_url.of(context)
        return await coded(self._reply(context, asked, answer, wanted, base_url, None), coding)

    async def _current_answer(self, context: RequestContext, asked: ListRequest) -> "_Answer":
        """The answer by the definition as it still is once the answer is known.

        Raises what ``_answer`` raises and, for a definition that has changed meanwhile,
        NoSuchCollection and Unauthenticated.
        """
        while True:
            answer = await self._answer(context, asked)
            current = self._collections.current(context.collection, context.caller)
            if current is context.collection:
                return answer
            context.collection = current

    async def _answer(self, context: RequestContext, asked: ListRequest) -> "_Answer":
        collection, subject = context.collection, context.subject
        query = replace(asked.query, extent=extent_of(collection, context.caller))
        self._indexes.check_built(query, collection, asked.sort_location)
        declared = self._indexes.built(collection)
        check_allowed(query, declared, asked.sort_location)
        await self._cursors.open()
        position = None
        if asked.cursor is not None:
            position = self._cursors.decode(asked.cursor, query, subject, asked.cursor_location)
            other_way = CURSOR_NAMES[2]["next" if position.backwards else "prev"]
            if asked.cursor_location.parameter == other_way:
                position = position.turned()
        counted = wanted_count(context.headers)
        async with self._pages.turn(subject or context.address or context.peer):
            page = await self._pages.read(query, declared, position, asked.limit)
            total = None
            if counted is not None:
                exactly = counted == "exact"
                total = await self._pages.count(query, declared, exactly=exactly)
        cursors = {
            relation: None if at is None else self._cursors.encode(at, query, subject)
            for relation, at in (("next", page.next), ("prev", page.previous))
        }
        return _Answer(
            page.items, cursors, {} if total is None else {str(counted): total}, page.early
        )

    def _reply(
        self,
        context: RequestContext,
        asked: ListRequest,
        answer: "_Answer",
        wanted: Representation,
        base_url: str,
        links: Mapping[str, str | None] | None,
    ) -> Reply:
        profiled = wanted.version == 2 and links is not None and not answer.early
        media_type = cursor_profile.media_type(wanted.media_type) if profiled else wanted.media_type
        headers = [("content-type", media_type), *self._replies.headers(wanted)]
        headers += [("preference-applied", f"count={counted}") for counted in answer.total]
        # The tag of the whole item, even with ``fields``, so that a write can use it.
        shown = [(_shown(item, asked.fields), entity_tag(item)) for item in answer.items]
        if wanted.version == 1:
            entries = [v1.render_entry(item, tag) for item, tag in shown]
            total = next(iter(answer.total.values()), None)
            return Reply(200, headers, v1.render_page(entries, answer.cursors, total))
        kind = context.collection.resource
        entries = [v2.resource(item, base_url, kind, tag) for item, tag in shown]
        text = v2.render_page(entries, answer.cursors, links, answer.total, profiled)
        return Reply(200, headers, text)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A page, its cursors by relation, and the total by its kind, if it was counted.

    ``early``: the page has fewer items than its limit although more follow.
    """

    items: list[Item]
    cursors: dict[str, str | None]
    total: dict[str, int]
    early: bool


def _links(
    context: RequestContext, base_url: str, cursors: Mapping[str, str | None], version: int
) -> dict[str, str | None]:
    """The neighbouring pages' URLs by relation; None if there is no such page."""
    names = CURSOR_NAMES[version]
    sent = parse_qsl(context.query_string, keep_blank_values=True)
    sent = [(name, value) for name, value in sent if name not in names.values()]
    base = f"{base_url}{context.path}"
    return {
        relation: cursor and f"{base}?{urlencode([*sent, (names[relation], cursor)])}"
        for relation, cursor in cursors.items()
    }


def _shown(item: Item, fields: frozenset[str] | None) -> Item:
    assert item.data is not None
    return item if fields is None else item._replace(data=select(item.data, fields))
