"""GET and HEAD of /items, and searches: a page of items and the way to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode

from service.access import scopes
from service.access.tokens import Caller
from service.api import v1
from service.api.fields import select
from service.api.item_reply import VARY
from service.api.list_query import ListRequest, from_body, from_query_string
from service.api.media_types import check_accept, check_item_body
from service.api.prefer import wanted_count
from service.api.query import parameters
from service.api.request import Reply, RequestContext
from service.items.cursor import Cursors
from service.items.filters import check_allowed
from service.items.pages import Pages
from service.model.entity_tag import entity_tag
from service.model.item import Item
from service.model.query import Path


class ListItems:
    """Answers lists. ``declared`` are the attributes that have an index."""

    def __init__(
        self,
        pages: Pages,
        cursors: Cursors,
        declared: frozenset[Path],
        cache_control: str,
        public_url: str,
    ) -> None:
        self._pages = pages
        self._cursors = cursors
        self._declared = declared
        self._headers = [("cache-control", cache_control), ("vary", VARY)]
        self._public_url = public_url.rstrip("/")

    async def get(self, context: RequestContext) -> Reply:
        """The list that the query string asks for; Link leads on (RFC 8288)."""
        media_type = check_accept(context.headers)
        asked = from_query_string(context.query_string)
        answer = await self._answer(context, asked)
        reply = self._reply(asked, answer, media_type)
        link = self._link(context, answer.cursors)
        if link:
            reply.headers.append(("link", link))
        return reply

    async def search(self, context: RequestContext) -> Reply:
        """The list that the body asks for."""
        check_item_body(context.headers)
        media_type = check_accept(context.headers)
        parameters(context.query_string, ())
        asked = from_body(await context.read_body())
        return self._reply(asked, await self._answer(context, asked), media_type)

    async def _answer(self, context: RequestContext, asked: ListRequest) -> "_Answer":
        subject = _reader(context).subject
        query = asked.query
        check_allowed(query, self._declared, asked.sort_place)
        await self._cursors.open()
        position = None
        if asked.cursor is not None:
            position = self._cursors.decode(asked.cursor, query, subject, asked.cursor_place)
        page = await self._pages.read(query, position, asked.limit)
        cursors = {
            relation: None if place is None else self._cursors.encode(place, query, subject)
            for relation, place in (("next", page.next), ("prev", page.previous))
        }
        counted = wanted_count(context.headers)
        total = None if counted is None else await self._pages.count(query, counted == "exact")
        return _Answer(page.items, cursors, counted, total)

    def _link(self, context: RequestContext, cursors: Mapping[str, str | None]) -> str:
        sent = parse_qsl(context.query_string, keep_blank_values=True)
        sent = [(name, value) for name, value in sent if name != "cursor"]
        base = f"{self._public_url}{context.path}"
        return ", ".join(
            f'<{base}?{urlencode([*sent, ("cursor", cursor)])}>; rel="{relation}"'
            for relation, cursor in cursors.items()
            if cursor is not None
        )

    def _reply(self, asked: ListRequest, answer: "_Answer", media_type: str) -> Reply:
        headers = [("content-type", media_type), *self._headers]
        if answer.total is not None:
            headers.append(("preference-applied", f"count={answer.counted}"))
        entries = [_entry(item, asked.fields) for item in answer.items]
        return Reply(200, headers, v1.render_page(entries, answer.cursors, answer.total))


@dataclass(frozen=True, slots=True)
class _Answer:
    """A page, its cursors by their relation, and the total if it was asked for and found."""

    items: list[Item]
    cursors: dict[str, str | None]
    counted: str | None
    total: int | None


def _entry(item: Item, fields: frozenset[str] | None) -> bytes:
    """The tag is the item's own, whatever is shown of it: it is good for a write."""
    assert item.data is not None
    shown = item if fields is None else replace(item, data=select(item.data, fields))
    return v1.render_entry(shown, entity_tag(item))


def _reader(context: RequestContext) -> Caller:
    assert context.caller is not None
    scopes.require(context.caller, scopes.READ)
    return context.caller
