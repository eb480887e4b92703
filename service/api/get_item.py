"""GET and HEAD of one item; the whole path in one file, top to bottom.

``hot`` takes a GET from Granian's objects to its answer; a hit in the near cache needs no
coroutine. Requests that it cannot handle take the general path, which ends in ``__call__``. Both
use the same Reader and send the same representations.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, NamedTuple

from service import native
from service.access import scopes
from service.api.gate import Gate, rate_limited
from service.api.headers.content_codings import choose_coding
from service.api.headers.media_types import check_accept
from service.api.headers.preconditions import conditions_of
from service.api.headers.sections import ParsedFields, Sections
from service.api.item_id import existing_id
from service.api.query import parameters
from service.api.represent.fields import PARAMETER, chosen_fields
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
from service.items.reader import Reader
from service.model.caller import Caller
from service.model.entity_tag import NO_TAGS, precondition_failed
from service.model.errors import ItemNotFound
from service.model.rate import Admission
from service.model.resource import DEFAULT_VERSION, ITEMS
from service.observe.access_log import AccessLog
from service.observe.hot_answers import HotAnswers

# The canonical URL; others take the general path.
_PREFIX: Final = f"{ITEMS.path(DEFAULT_VERSION)}/"
_LENGTH: Final = len(_PREFIX) + 26
_ROUTE: Final = f"{_PREFIX}{{id}}"


class Asked(NamedTuple):
    """A near cache miss, or (``admission`` None) a request that needs a call of the limiter."""

    caller: Caller
    item_id: bytes
    parsed: ParsedFields
    admission: Admission | None


class GetItem:
    """One worker's reads by id; belongs to its event loop.

    Answers of ``hot`` are timed, counted and logged (``log``) here; ``always_limit`` as in Finish.
    """

    def __init__(
        self,
        gate: Gate,
        reader: Reader,
        replies: ItemReplies,
        draining: Callable[[], bool],
        log: AccessLog,
        always_limit: bool = False,
    ) -> None:
        self._gate = gate
        self._reader = reader
        self._replies = replies
        self._draining = draining
        self._always_limit = always_limit
        self._answers = HotAnswers(_ROUTE, log)
        self._sections = Sections()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.set_result(None)

    def hot(self, scope: Scope, exchange: Exchange, general: GeneralPath) -> Awaitable[None]:
        """Answer a GET; returns the awaitable for Granian."""
        began_s = perf_counter()
        found = self._hit(scope)
        if isinstance(found, Asked):
            return self._later(found, scope, exchange, general, began_s)
        if found is None or isinstance(found, Admitted):
            return general.answer(scope, exchange, found)
        self._send(scope, exchange, general, *found, "near", began_s)
        return self._done

    def _hit(self, scope: Scope) -> tuple[Reply, Admission, Caller] | Asked | Admitted | None:
        """The answer on a near cache hit; Admitted and None mean the general path.

        Credentials are checked first, then the limit, and only then anything is parsed.
        """
        path = scope.path
        if len(path) != _LENGTH or not path.startswith(_PREFIX) or scope.query_string:
            return None
        headers = scope.headers
        lines = tuple(headers.items())
        section = self._sections[lines]
        # Unequal if a field is not ASCII, because Granian leaves it out of the items.
        if section is None or len(headers) != len(lines):
            return None
        caller = self._gate.remembered(section.token) or self._gate.recall(section.fields)
        item_id = native.parse_id(path[-26:])
        if caller is None or item_id is None or not caller.may(scopes.READ):
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
            if stored is not None:
                return self._replies.of_stored(stored, *parsed), admission, caller
        return Asked(caller, item_id, parsed, admission)

    async def _later(
        self, asked: Asked, scope: Scope, exchange: Exchange, general: GeneralPath, began_s: float
    ) -> None:
        """Answer from Redis or a database, or from the near cache once the limiter has called
        Redis.
        """
        caller, item_id, parsed, admission = asked
        try:
            if admission is None:
                admission = await self._gate.admission(caller)
                if not admission.allowed:
                    raise rate_limited(admission)
                stored, source = await self._reader.get_where(item_id, caller.subject)
            else:
                stored = await self._reader.get_remote(item_id, caller.subject)
                source = "" if stored is None else stored.source
            if stored is None:
                raise ItemNotFound
            reply = self._replies.of_stored(stored, *parsed)
        except Exception as error:
            general.send_error(scope, exchange, error, admission, began_s)
            return
        self._send(scope, exchange, general, reply, admission, caller, source, began_s)

    def _send(
        self,
        scope: Scope,
        exchange: Exchange,
        general: GeneralPath,
        reply: Reply,
        admission: Admission,
        caller: Caller,
        source: str,
        began_s: float,
    ) -> None:
        """Send the reply with the fields that belong to this request only."""
        status, headers, body = reply
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
        self._answers.sent(status, len(body), source, caller.limit_key, began_s)

    async def __call__(self, context: RequestContext) -> Reply:
        """The answer on the general path; raises the errors of a read."""
        assert context.caller is not None
        item_id = existing_id(context)
        wanted = check_accept(context)
        sent = parameters(context.query_string, (PARAMETER[wanted.version],))
        fields = chosen_fields(sent, wanted.version)
        coding = choose_coding(context.headers)
        conditions = conditions_of(context.headers)
        began_s = perf_counter()
        stored, context.source = await self._reader.get_where(item_id, context.caller.subject)
        context.spent_s["read"] = perf_counter() - began_s
        if stored is None:
            raise ItemNotFound
        entry = stored.entry
        if conditions.if_match is not None and not conditions.if_match.matches_strongly(entry):
            raise precondition_failed("if-match", entry)
        known, base_url = conditions.if_none_match or NO_TAGS, self._replies.public_url.of(context)
        if fields is None:
            return self._replies.of_stored_at(stored, wanted, coding, known, base_url)
        if known.matches_weakly(entry):
            return self._replies.not_modified(entry, wanted, fields)
        return self._replies.selected(entry.item(item_id), wanted, fields, base_url)
