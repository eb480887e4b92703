"""POST, PUT, PATCH and DELETE of items: parses the request, writes, and makes the answer."""

from collections.abc import Callable
from typing import Any, TypeVar

from service.access import scopes
from service.api.fingerprint import fingerprinted, keyed
from service.api.headers.media_types import (
    JSON_PATCH,
    MERGE_PATCH,
    Representation,
    Sent,
    check_accept,
    check_item_body,
    check_patch_body,
)
from service.api.headers.preconditions import conditions_of, required_idempotency_key
from service.api.headers.prefer import wants_minimal
from service.api.item_id import chosen_id, existing_id
from service.api.query import parameters
from service.api.represent import v1, v2_body, v2_patch
from service.api.represent.item_reply import ItemReplies
from service.api.request import Reply, RequestContext
from service.flow.offload import BESIDE_THE_LOOP, LONG_BYTES
from service.items import decision
from service.items.data_schema import DataSchema
from service.items.decision import Conditions
from service.items.planned import Planned
from service.items.write import ItemWriter
from service.model.caller import Caller
from service.model.change import Outcome
from service.model.errors import Location, PreconditionRequired
from service.model.item import Item
from service.model.json_patch import JsonPatch, MergePatch, Patch

T = TypeVar("T")

# The pointer of the data in each version.
_DATA_AT = {1: "/data", 2: "/data/attributes"}
PATCHES: dict[str, Callable[[bytes, int], Patch]] = {
    MERGE_PATCH: MergePatch,
    JSON_PATCH: JsonPatch,
}


class ChangeItem:
    """The write methods. Each returns the whole answer or raises a HotshelfError."""

    def __init__(
        self,
        writer: ItemWriter,
        replies: ItemReplies,
        require_if_match: bool,
        body_max_bytes: int,
        schema: DataSchema,
    ) -> None:
        self._writer = writer
        self._replies = replies
        self._require_if_match = require_if_match
        self._body_max_bytes = body_max_bytes
        self._schema = schema

    async def post(self, context: RequestContext) -> Reply:
        """Create an item under a new id."""
        sent, wanted = check_item_body(context), check_accept(context)
        parameters(context.query_string, ())
        name = required_idempotency_key(context.headers)
        body = await context.read_body()
        data = await offloaded(len(body), self._data, sent, body, None)
        caller = _writer(context)
        key = fingerprinted(name, context, None, sent.media_type, body)
        planned = Planned(None, decision.creating(caller, data), key, data)
        return self._reply(context, wanted, await self._writer.write(caller, planned))

    async def put(self, context: RequestContext) -> Reply:
        """Replace an item, or create one with the id that the client chose."""
        item_id = chosen_id(context)
        sent, wanted = check_item_body(context), check_accept(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        self._check_precondition_sent(conditions, may_create=True)
        body = await context.read_body()
        data = await offloaded(len(body), self._data, sent, body, item_id)
        caller = _writer(context)
        key = keyed(context, item_id, sent.media_type, body)
        planned = Planned(item_id, decision.replacing(caller, data, conditions), key, data)
        return self._reply(context, wanted, await self._writer.write(caller, planned))

    async def patch(self, context: RequestContext) -> Reply:
        """Change parts of an item's representation (RFC 5789), atomically."""
        item_id = existing_id(context)
        sent, wanted = check_patch_body(context), check_accept(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        self._check_precondition_sent(conditions)
        body = await context.read_body()
        caller = _writer(context)
        base_url = self._replies.public_url.of(context)
        patched = await offloaded(len(body), self._patched, sent, body, item_id, base_url)
        key = keyed(context, item_id, sent.media_type, body)
        decide = decision.patching(caller, patched, conditions)
        planned = Planned(item_id, decide, key, patch_bytes=len(body))
        return self._reply(context, wanted, await self._writer.write(caller, planned))

    async def delete(self, context: RequestContext) -> Reply:
        """Delete an item and leave a tombstone."""
        item_id = existing_id(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        caller = _writer(context)
        key = keyed(context, item_id, "", b"")
        planned = Planned(item_id, decision.deleting(caller, conditions), key)
        return self._reply(context, None, await self._writer.write(caller, planned))

    def _data(self, sent: Sent, body: bytes, item_id: bytes | None) -> bytes:
        """The JSON text of the data in a POST or PUT body of either version."""
        data = v1.parse_body(body) if sent.version == 1 else v2_body.parse_body(body, item_id)
        self._schema.check_sent(data, _DATA_AT[sent.version])
        return data

    def _patched(
        self, sent: Sent, body: bytes, item_id: bytes, base_url: str
    ) -> Callable[[Item], bytes]:
        """A function from the item to its new data. Raises the errors of the patch itself."""
        changed, at = self._applied(sent, body, item_id, base_url), _DATA_AT[sent.version]
        return lambda item: self._schema.check_patched(changed(item), at)

    def _applied(
        self, sent: Sent, body: bytes, item_id: bytes, base_url: str
    ) -> Callable[[Item], bytes]:
        max_bytes = self._body_max_bytes
        if sent.media_type not in PATCHES:
            attributes = v2_body.parse_update(body, item_id)
            return lambda item: v2_patch.updated(item, attributes, max_bytes)
        if sent.version == 1:
            patch = PATCHES[sent.media_type](body, v1.PATCH_MAX_DEPTH)
            return lambda item: v1.patched(item, patch, max_bytes)
        patch = PATCHES[sent.media_type](body, v2_patch.PATCH_MAX_DEPTH)
        return lambda item: v2_patch.patched(item, patch, max_bytes, base_url)

    def _reply(
        self, context: RequestContext, wanted: Representation | None, outcome: Outcome
    ) -> Reply:
        if outcome.item is None or wanted is None:
            reply = Reply(204, [])
        else:
            status = 201 if outcome.kind == "created" else 200
            minimal = wants_minimal(context.headers)
            base_url = self._replies.public_url.of(context)
            reply = self._replies.changed(outcome.item, wanted, base_url, status, minimal)
        if outcome.replayed:
            reply.headers.append(("idempotency-replayed", "true"))
        return reply

    def _check_precondition_sent(self, conditions: Conditions, may_create: bool = False) -> None:
        if self._require_if_match:
            location = Location("is missing", header="if-match")
            check_precondition_sent(conditions, may_create, location)


def check_precondition_sent(conditions: Conditions, may_create: bool, location: Location) -> None:
    """Raises PreconditionRequired, at ``location``, where a change has no precondition."""
    creates = conditions.if_none_match is not None and conditions.if_none_match.any
    if conditions.if_match is None and not (may_create and creates):
        raise PreconditionRequired(
            "Send If-Match with the tag of the version that is to be replaced, "
            "or If-None-Match: * to create.",
            location,
        )


async def offloaded(size_bytes: int, work: Callable[..., T], *arguments: Any) -> T:
    """The result of ``work``: on the event loop for small texts, otherwise in a thread."""
    if size_bytes <= LONG_BYTES:
        return work(*arguments)
    return await BESIDE_THE_LOOP.run(work, *arguments)


def _writer(context: RequestContext) -> Caller:
    assert context.caller is not None
    scopes.require(context.caller, scopes.WRITE)
    return context.caller
