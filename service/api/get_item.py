"""GET and HEAD of one item: who asks, may they, where the bytes are, how to answer.

``at_once`` and ``ask`` are the hot path, plain functions from the request to the answer; a
request that needs more than they look at is told so before anything was counted or read, and
goes the way of ``__call__``. All ask the same Reader and send the same forms: there is no second
read path.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from time import perf_counter
from typing import Final, NamedTuple, TypeAlias

from service import native
from service.access import scopes
from service.api.gate import Gate, rate_limited
from service.api.headers.content_codings import choose_coding, coding_for
from service.api.headers.media_types import Representation, check_accept, negotiate
from service.api.headers.preconditions import conditions_of
from service.api.item_id import existing_id
from service.api.query import parameters
from service.api.represent.fields import PARAMETER, chosen_fields
from service.api.represent.item_reply import ItemReplies
from service.api.request import Reply, RequestContext
from service.items.coherence import Found
from service.items.reader import Reader
from service.model.caller import Caller
from service.model.entity_tag import (
    NO_TAGS,
    TagCondition,
    parse_tag_condition,
    precondition_failed,
)
from service.model.errors import ItemNotFound
from service.model.rate import Admission


class Slow:
    """``ask``'s answer to a request that it does not know how to answer."""


SLOW: Final = Slow()

Answer: TypeAlias = Reply | Exception
Tell: TypeAlias = Callable[[Answer, Admission | None], None]


class Terms(NamedTuple):
    """What a request's header fields say: many requests come with the very same ones.

    ``token`` is the bearer token, or "" where ``fields`` must tell who asks.
    """

    fields: Mapping[str, str]
    token: str
    wanted: Representation
    coding: str
    known: TagCondition


class GetItem:
    """Answers reads of one item; the only read path there is."""

    def __init__(self, gate: Gate, reader: Reader, replies: ItemReplies) -> None:
        self.gate = gate
        self.reader = reader
        self.replies = replies

    def terms(self, fields: Mapping[str, str]) -> Terms | None:
        """What the header fields say; None where they are for ``__call__`` to judge.

        ``fields`` are by lower-case name, each sent once and all ASCII; preconditions but
        If-None-Match, CORS and a query are for ``__call__`` as well.
        """
        wanted = negotiate(fields.get("accept", ""))
        coding = coding_for(fields.get("accept-encoding", ""))
        known = _tags(fields.get("if-none-match", ""))
        if wanted is None or coding is None or known is None:
            return None
        credentials = fields.get("authorization", "")
        is_alone = credentials.startswith("Bearer ") and "x-api-key" not in fields
        return Terms(fields, credentials[7:] if is_alone else "", wanted, coding, known)

    def at_once(self, terms: Terms, id_text: str) -> tuple[Reply, Admission] | None:
        """The answer, if it is at hand and so is a token for it; else nothing was done."""
        item_id = native.parse_id(id_text)
        caller = self._caller(terms)
        if item_id is None or caller is None or not caller.may(scopes.READ):
            return None
        stored = self.reader.near(item_id, caller.subject)
        admission = None if stored is None else self.gate.spend(caller)
        if stored is None or admission is None:
            return None
        self.reader.from_near += 1
        return self.replies.of_form(stored, terms.wanted, terms.coding, terms.known), admission

    def ask(
        self, terms: Terms, id_text: str, tell: Tell
    ) -> tuple[Answer, Admission | None] | Slow | None:
        """The answer, or None: then ``tell`` gets it, exactly once, later."""
        item_id = native.parse_id(id_text)
        caller = self._caller(terms)
        if item_id is None or caller is None or not caller.may(scopes.READ):
            return SLOW
        asked = _Asked(self, item_id, caller.subject, terms, tell)
        admission = self.gate.admit(caller, asked.admitted)
        answer = None if admission is None else asked.find(admission)
        return None if answer is None else (answer, admission)

    def _caller(self, terms: Terms) -> Caller | None:
        """Whose credentials are known already; None says nothing against them."""
        caller = self.gate.remembered(terms.token) if terms.token else None
        return caller or self.gate.recall(terms.fields)

    async def __call__(self, context: RequestContext) -> Reply:
        """The whole answer; raises the errors that a read can end with."""
        caller = context.caller
        assert caller is not None
        item_id = existing_id(context)
        wanted = check_accept(context)
        sent = parameters(context.query_string, (PARAMETER[wanted.version],))
        fields = chosen_fields(sent, wanted.version)
        coding = choose_coding(context.headers)
        conditions = conditions_of(context.headers)
        began = perf_counter()
        stored, context.source = await self.reader.found_where(item_id, caller.subject)
        context.spent_s["read"] = perf_counter() - began
        if stored is None:
            raise _not_found()
        entry = stored.entry
        if conditions.if_match is not None and not conditions.if_match.matches_strongly(entry):
            raise precondition_failed("if-match", entry)
        known = conditions.if_none_match or NO_TAGS
        if fields is None:
            return self.replies.of_form(stored, wanted, coding, known)
        if known.matches_weakly(entry):
            return self.replies.not_modified(entry, wanted, fields)
        return self.replies.selected(entry.item(item_id), wanted, fields)


class _Asked:
    """One request on the hot path, from when it is known who asks for what."""

    __slots__ = (
        "_admission",
        "_get_item",
        "_item_id",
        "_subject",
        "_tell",
        "_terms",
    )

    def __init__(
        self,
        get_item: GetItem,
        item_id: bytes,
        subject: str,
        terms: Terms,
        tell: Tell,
    ) -> None:
        self._get_item = get_item
        self._item_id = item_id
        self._subject = subject
        self._terms = terms
        self._tell = tell
        self._admission: Admission | None = None

    def find(self, admission: Admission) -> Answer | None:
        """May it pass; then the near cache, else None, and ``found`` is called."""
        self._admission = admission
        if not admission.allowed:
            return rate_limited(admission)
        stored = self._get_item.reader.find(self._item_id, self._subject, self.found)
        return None if stored is None else self._answer(stored)

    def admitted(self, admission: Admission) -> None:
        """The limiter had to ask Redis."""
        try:
            answer = self.find(admission)
        except Exception as error:
            answer = error
        if answer is not None:
            self._tell(answer, admission)

    def found(self, found: Found) -> None:
        """The reader had to ask Redis or a database."""
        try:
            answer = self._answer(found)
        except Exception as error:
            answer = error
        self._tell(answer, self._admission)

    def _answer(self, found: Found) -> Answer:
        if found is None:
            return _not_found()
        if isinstance(found, Exception):
            return found
        terms = self._terms
        return self._get_item.replies.of_form(found, terms.wanted, terms.coding, terms.known)


# Few: every version of every item has a tag of its own, and a worker would grow by them all.
@lru_cache(maxsize=256)
def _tags(value: str) -> TagCondition | None:
    """None for a malformed list, which the other way refuses."""
    if not value:
        return NO_TAGS
    try:
        return parse_tag_condition(value)
    except ValueError:
        return None


def _not_found() -> ItemNotFound:
    return ItemNotFound("There is no item with this id.")
