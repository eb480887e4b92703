"""GET and HEAD of one item, read from top to bottom.

``hot`` takes a GET from Granian's objects to its answer; a hit in the near cache needs no
coroutine. What it does not know how to answer takes the general path, which ends in ``__call__``.
Both ask the same Reader and send the same representations: there is one way to read an item.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from time import perf_counter, time
from typing import Final, NamedTuple, TypeAlias

from service import native
from service.api.gate import Gate, rate_limited
from service.api.headers.content_codings import choose_coding
from service.api.headers.media_types import readable
from service.api.headers.preconditions import conditions_of
from service.api.headers.sections import ParsedFields, Sections
from service.api.item_id import existing_id
from service.api.query import parameters
from service.api.represent.fields import chosen_fields, parameter_of
from service.api.represent.item_reply import ItemReplies
from service.api.request import (
    LARGE_BYTES,
    Admitted,
    Exchange,
    GeneralPath,
    Reply,
    RequestContext,
    Scope,
)
from service.items.collections import Collections
from service.items.reader import Reader
from service.items.visibility import is_plain
from service.items.visible_reader import VisibleReader
from service.model.caller import Caller
from service.model.collection import Collection
from service.model.entity_tag import NO_TAGS, precondition_failed
from service.model.errors import ItemNotFound
from service.model.rate import Admission
from service.model.resource import DEFAULT_VERSION, ITEMS, OTHERS
from service.observe.access_log import AccessLog
from service.observe.instruments import Distribution
from service.observe.metrics import SENT_BYTES
from service.observe.request_ids import request_ids
from service.observe.requests import SOURCES, of_route

# Of canonical URLs; others take the general path.
_ROUTES: Final = {
    is_items: f"{(ITEMS if is_items else OTHERS).path(DEFAULT_VERSION)}/{{id}}"
    for is_items in (True, False)
}


class _Hot:
    """What the hot path needs of a collection, at hand.

    ``is_plain``: what is found in it can be sent to all who may read, without another look at the
    definition; false from when that has changed.
    """

    __slots__ = ("collection", "is_plain", "kind", "number", "route", "scope", "times")

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.number = collection.number
        self.kind = collection.resource
        self.scope = collection.resource.read_scope
        self.is_plain = is_plain(collection)
        self.route = _ROUTES[not collection.number]
        self.times = _times(self.route)


@cache
def _times(route: str) -> dict[str, list[Distribution]]:
    """By what answered."""
    return {source: of_route("GET", route, source) for source in ("", *SOURCES)}


class Asked(NamedTuple):
    """A read that nothing at hand answers. ``admission`` None: the limiter has to ask Redis."""

    hot: _Hot
    caller: Caller
    item_id: bytes
    parsed: ParsedFields
    admission: Admission | None


_Found: TypeAlias = tuple[Reply, Admission, Caller, _Hot]


class GetItem:
    """One worker's reads by id; belongs to its event loop.

    ``log`` is told of the answers of ``hot``, which are timed and counted here as well;
    ``always_limit`` as of Finish.
    """

    def __init__(
        self,
        gate: Gate,
        reader: Reader,
        visible: VisibleReader,
        collections: Collections,
        replies: ItemReplies,
        draining: Callable[[], bool],
        log: AccessLog,
        always_limit: bool = False,
    ) -> None:
        self._gate = gate
        self._visible = visible
        self._reader = reader
        self._collections = collections
        self._hot: dict[str, _Hot] = {}
        self._learn()
        collections.on_change.append(self._learn)
        self._replies = replies
        self._draining = draining
        self._log = log
        self._always_limit = always_limit
        self._sent = SENT_BYTES.of()
        self._sections = Sections()
        self._new_id = request_ids()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.set_result(None)

    def hot(self, scope: Scope, exchange: Exchange, general: GeneralPath) -> Awaitable[None]:
        """Answer a GET; returns what Granian is to await."""
        began_s = perf_counter()
        found = self._hit(scope)
        if isinstance(found, Asked):
            return self._later(found, scope, exchange, general, began_s)
        if found is None or isinstance(found, Admitted):
            return general.answer(scope, exchange, found)
        self._send(scope, exchange, general, *found, "near", began_s)
        return self._done

    def _hit(self, scope: Scope) -> _Found | Asked | Admitted | None:
        """The answer, if it is at hand; Admitted and None are for the general path.

        Credentials come first, then the limit, then whatever needs to be parsed.
        """
        path = scope.path
        hot = self._hot.get(path[:-26])
        if hot is None or scope.query_string:
            return None
        headers = scope.headers
        lines = tuple(headers.items())
        section = self._sections[lines]
        # A field whose value is not ASCII is missing among the items.
        if section is None or len(headers) != len(lines):
            return None
        caller = self._gate.remembered(section.token) or self._gate.recall(section.fields)
        item_id = native.parse_id(path[-26:])
        if caller is None or item_id is None or not caller.may(hot.scope):
            return None
        parsed, admission = section.parsed, self._gate.spend(caller)
        if parsed is None:
            if admission is None:
                return None
            parsed = self._sections.parse(lines, section)
            if parsed is None:
                return Admitted(caller, admission)
        if admission is not None:
            stored = self._reader.get_near(item_id, caller.subject)
            if (
                stored is not None
                and stored.entry.collection == hot.number
                and (hot.is_plain or self._visible.is_shown_near(hot.collection, caller, stored))
            ):
                return self._replies.of_stored(stored, *parsed, hot.kind), admission, caller, hot
        return Asked(hot, caller, item_id, parsed, admission)

    async def _later(
        self, asked: Asked, scope: Scope, exchange: Exchange, general: GeneralPath, began_s: float
    ) -> None:
        """Answer from Redis or a database, or from near once the limiter has asked Redis."""
        hot, caller, item_id, parsed, admission = asked
        try:
            if admission is None:
                admission = await self._gate.admission(caller)
                if not admission.allowed:
                    raise rate_limited(admission)
                stored, source = await self._reader.get_where(item_id, caller.subject)
            else:
                stored = await self._reader.get_remote(item_id, caller.subject)
                source = "" if stored is None else stored.source
            if not hot.is_plain or stored is None or stored.entry.collection != hot.number:
                stored = await self._visible.checked(hot.collection, item_id, caller, stored)
                if stored is None:
                    raise ItemNotFound
            reply = self._replies.of_stored(stored, *parsed, hot.kind)
        except Exception as error:
            general.send_error(scope, exchange, error, admission, began_s)
            return
        self._send(scope, exchange, general, reply, admission, caller, hot, source, began_s)

    def _send(
        self,
        scope: Scope,
        exchange: Exchange,
        general: GeneralPath,
        reply: Reply,
        admission: Admission,
        caller: Caller,
        hot: _Hot,
        source: str,
        began_s: float,
    ) -> None:
        """Send the reply with what is this request's alone."""
        status, headers, body = reply
        if admission.is_low or self._always_limit:
            headers = [*headers, *admission.fields()]
        if self._draining():
            headers = [*headers, ("connection", "close")]
        if len(body) > LARGE_BYTES:
            general.send_large(scope, exchange, Reply(status, headers, body), admission)
        elif body:
            exchange.response_bytes(status, headers, body)
        else:
            exchange.response_empty(status, headers)
        took_s = perf_counter() - began_s
        hot.times[source][status // 100].observe(took_s)
        self._sent.value += len(body)
        log = self._log
        if log.left > 0 and took_s < log.slow_s:
            log.left -= 1
        else:
            key, size = caller.limit_key, len(body)
            log.observe(self._new_id(), "", "GET", hot.route, status, took_s, source, key, size)

    async def __call__(self, context: RequestContext) -> Reply:
        """The answer on the general path; raises the errors that a read can end with."""
        collection = context.collection
        item_id = existing_id(context)
        wanted = readable(context)
        name = parameter_of(wanted.version, collection.resource)
        fields = chosen_fields(parameters(context.query_string, (name,)), name)
        coding = choose_coding(context.headers)
        conditions = conditions_of(context.headers)
        began_s = perf_counter()
        stored, context.source = await self._visible.get_where(collection, item_id, context.caller)
        context.spent_s["read"] = perf_counter() - began_s
        if stored is None:
            raise ItemNotFound
        context.collection = self._collections.current(collection, context.caller)
        if context.collection is not collection:
            wanted = readable(context)
        entry = stored.entry
        if conditions.if_match is not None and not conditions.if_match.matches_strongly(entry):
            raise precondition_failed("if-match", entry)
        known = conditions.if_none_match or NO_TAGS
        kind = collection.resource
        if fields is None:
            reply = self._replies.of_stored(stored, wanted, coding, known, kind)
        elif known.matches_weakly(entry):
            reply = self._replies.not_modified(entry, wanted, fields)
        else:
            reply = self._replies.selected(entry.item(item_id), wanted, fields, kind)
        ttl_s = context.collection.definition.ttl_s
        if wanted.shared_vary and ttl_s is not None:
            return self._replies.until(reply, entry.updated_s + ttl_s - time())
        return reply

    def _learn(self) -> None:
        """Know the collections as they are by now; reads under way look at them again."""
        known, self._hot = self._hot, {}
        for prefix, collection in self._collections.hot_prefix.items():
            before = known.pop(prefix, None)
            if before is not None and before.collection is collection:
                self._hot[prefix] = before
                continue
            if before is not None:
                before.is_plain = False
            if not collection.is_public:
                self._hot[prefix] = _Hot(collection)
        for dropped in known.values():
            dropped.is_plain = False
