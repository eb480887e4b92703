"""GET and HEAD of one item; the whole path in one file, top to bottom.

``hot`` takes a GET from Granian's objects to its answer: a plain near cache hit in one native call
(plain_hits.py), others without a coroutine. All other requests take the general path to
``__call__``, with the same Reader and representations.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

from service import native
from service.api.gate import Gate, rate_limited
from service.api.headers.content_codings import choose_coding
from service.api.headers.media_types import readable
from service.api.headers.preconditions import conditions_of
from service.api.headers.sections import ParsedFields, Sections, credentials
from service.api.hot_collections import HotCollection, HotCollections
from service.api.item_id import existing_id
from service.api.plain_hits import Asked, Found, Known, tables_of
from service.api.query import parameters
from service.api.represent.fields import chosen_fields, parameter_of
from service.api.represent.item_reply import ItemReplies
from service.api.request import (
    LARGE_BYTES,
    Admitted,
    Exchange,
    GeneralPath,
    HotGet,
    Reply,
    RequestContext,
    Scope,
)
from service.items.collections import Collections
from service.items.reader import Reader
from service.items.visible_reader import VisibleReader
from service.model.caller import Caller
from service.model.entity_tag import NO_TAGS, precondition_failed
from service.model.errors import ItemNotFound
from service.model.rate import Admission
from service.observe.access_log import AccessLog


class GetItem:
    """One worker's reads by id; belongs to its event loop.

    ``log`` gets the answers of ``hot``; ``always_limit`` as in Finish, ``native_hits`` as set.
    """

    def __init__(
        self,
        gate: Gate,
        reader: Reader,
        visible: VisibleReader,
        collections: Collections,
        replies: ItemReplies,
        draining: Callable[[], int],
        log: AccessLog,
        always_limit: bool = False,
        native_hits: bool = True,
    ) -> None:
        self._gate, self._reader, self._visible = gate, reader, visible
        self._collections, self._hot = collections, HotCollections(collections, log)
        self._replies, self._draining, self._always_limit = replies, draining, always_limit
        self._sections = Sections()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.set_result(None)
        self.hot: HotGet = self._in_python
        if native_hits and not always_limit:
            tables = tables_of(gate, reader, self._hot.by_prefix, self._sections, draining, log)
            self.hot = native.PlainHits(tables, self._done, self._in_python).answer

    def _in_python(
        self,
        scope: Scope,
        exchange: Exchange,
        general: GeneralPath,
        began_s: float = 0.0,
        known: tuple[HotCollection, Caller, bytes, ParsedFields] | None = None,
    ) -> Awaitable[None]:
        """Answer what native code did not: of ``known`` if it got so far, else from the scope."""
        began_s = began_s or perf_counter()
        found = self._hit(scope) if known is None else self._near(Known(*known))
        if isinstance(found, Asked):
            return self._later(found, scope, exchange, general, began_s)
        if found is None or isinstance(found, Admitted):
            return general.answer(scope, exchange, found)
        self._send(scope, exchange, general, found, "near", began_s)
        return self._done

    def _hit(self, scope: Scope) -> Found | Asked | Admitted | None:
        """The answer on a near cache hit; Admitted and None mean the general path.

        Credentials are checked first, then the limit, and only then anything is parsed.
        """
        path = scope.path
        hot = None if scope.query_string else self._hot.by_prefix.get(path[:-26])
        section = None if hot is None else self._sections.of(scope.headers)
        if hot is None or section is None:
            return None
        caller = self._gate.remembered(section.token) or self._gate.recall(credentials(section))
        item_id = native.parse_id(path[-26:])
        if caller is None or item_id is None or not caller.may(hot.scope):
            return None
        parsed, admission = section.parsed, None
        if parsed is None:
            admission = self._gate.spend(caller)
            if admission is None:
                return None
            parsed = self._sections.parse(scope.headers, section)
            if parsed is None:
                return Admitted(caller, admission)
        return self._near(Known(hot, caller, item_id, parsed), admission)

    def _near(self, known: Known, admission: Admission | None = None) -> Found | Asked:
        """The answer on a near cache hit; ``admission`` if the request is already counted."""
        hot, caller, item_id, parsed = known
        admission = admission or self._gate.spend(caller)
        if admission is not None:
            stored = self._reader.get_near(item_id, caller.subject)
            if (
                stored is not None
                and stored.entry.collection == hot.number
                and (hot.is_plain or self._visible.is_shown_near(hot.collection, caller, stored))
            ):
                return self._replies.of_stored(stored, *parsed, hot.kind), admission, caller, hot
        return Asked(known, admission)

    async def _later(
        self, asked: Asked, scope: Scope, exchange: Exchange, general: GeneralPath, began_s: float
    ) -> None:
        """Answer from Redis or a database; after a call of the limiter also from the near cache."""
        (hot, caller, item_id, parsed), admission = asked
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
        self._send(scope, exchange, general, (reply, admission, caller, hot), source, began_s)

    def _send(
        self,
        scope: Scope,
        exchange: Exchange,
        general: GeneralPath,
        found: Found,
        source: str,
        began_s: float,
    ) -> None:
        """Send the reply with the fields that belong to this request only."""
        (status, headers, body), admission, caller, hot = found
        if admission.is_low or self._always_limit:
            headers = [*headers, *admission.fields()]
        if self._draining():
            headers = [*headers, ("connection", "close")]
        if len(body) > LARGE_BYTES:
            whole = Reply(status, headers, body)
            general.send_large(scope, exchange, whole, caller.account, admission)
        elif body:
            exchange.response_bytes(status, headers, body)
        else:
            exchange.response_empty(status, headers)
        hot.answers.sent(status, len(body), source, caller.limit_key, began_s)

    async def __call__(self, context: RequestContext) -> Reply:
        """The answer on the general path; raises the errors of a read."""
        collection, kind = context.collection, context.collection.resource
        item_id = existing_id(context)
        wanted = readable(context)
        name = parameter_of(wanted.version, kind)
        fields = chosen_fields(parameters(context.query_string, (name,)), name)
        coding, conditions = choose_coding(context.headers), conditions_of(context.headers)
        began_s = perf_counter()
        stored, context.source = await self._visible.get_where(collection, item_id, context.caller)
        context.spent_s["read"] = perf_counter() - began_s
        if stored is None:
            raise ItemNotFound
        context.collection = self._collections.current(collection, context.caller)
        wanted, entry = readable(context), stored.entry
        if conditions.if_match is not None and not conditions.if_match.matches_strongly(entry):
            raise precondition_failed("if-match", entry)
        known, base_url = conditions.if_none_match or NO_TAGS, self._replies.public_url.of(context)
        if fields is None:
            reply = self._replies.of_stored_at(stored, wanted, coding, known, base_url, kind)
        else:
            reply = self._replies.selected_of(stored, wanted, fields, known, base_url, kind)
        return self._replies.until_ended(reply, wanted, context.collection, entry.updated_s)
