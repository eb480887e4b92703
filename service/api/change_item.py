"""POST, PUT, PATCH and DELETE of items: parses the request, writes, and makes the answer."""

from collections.abc import Awaitable, Callable
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
from service.items.collections import Collections
from service.items.decision import Conditions
from service.items.planned import Planned
from service.items.write import ItemWriter
from service.model.caller import Caller
from service.model.change import Outcome
from service.model.collection import Collection
from service.model.errors import (
    BodyTooLarge,
    DefinitionChanged,
    InvalidContent,
    Location,
    PreconditionRequired,
)
from service.model.item import Item
from service.model.json_patch import JsonPatch, MergePatch, Patch
from service.model.resource import Resource

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
        collections: Collections,
    ) -> None:
        self._writer = writer
        self._replies = replies
        self._require_if_match = require_if_match
        self._body_max_bytes = body_max_bytes
        self._collections = collections

    async def post(self, context: RequestContext) -> Reply:
        """Create an item under a new id."""
        sent, wanted = check_item_body(context), check_accept(context)
        parameters(context.query_string, ())
        name = required_idempotency_key(context.headers)
        body = await context.read_body()

        async def planned(collection: Collection) -> Planned:
            data = await offloaded(len(body), self._data, collection, sent, body, None)
            caller = _writer(context)
            key = fingerprinted(name, context, None, sent.media_type, body)
            return Planned(None, decision.creating(caller, data), key, data, collection=collection)

        return self._reply(context, wanted, await self._written(context, planned))

    async def put(self, context: RequestContext) -> Reply:
        """Replace an item, or create one with the id that the client chose."""
        item_id = chosen_id(context)
        sent, wanted = check_item_body(context), check_accept(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        self._check_precondition_sent(conditions, may_create=True)
        body = await context.read_body()

        async def planned(collection: Collection) -> Planned:
            data = await offloaded(len(body), self._data, collection, sent, body, item_id)
            caller = _writer(context)
            key = keyed(context, item_id, sent.media_type, body)
            decide = decision.replacing(caller, data, conditions, collection)
            return Planned(item_id, decide, key, data, collection=collection)

        return self._reply(context, wanted, await self._written(context, planned))

    async def patch(self, context: RequestContext) -> Reply:
        """Change parts of an item's representation (RFC 5789), atomically."""
        item_id = existing_id(context)
        sent, wanted = check_patch_body(context), check_accept(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        self._check_precondition_sent(conditions)
        body = await context.read_body()
        base_url = self._replies.public_url.of(context)

        async def planned(collection: Collection) -> Planned:
            caller = _writer(context)
            made = (self._patched, collection, sent, body, item_id, base_url)
            patched = await offloaded(len(body), *made)
            key = keyed(context, item_id, sent.media_type, body)
            decide = decision.patching(caller, patched, conditions, collection)
            return Planned(item_id, decide, key, patch_bytes=len(body), collection=collection)

        return self._reply(context, wanted, await self._written(context, planned))

    async def delete(self, context: RequestContext) -> Reply:
        """Delete an item and leave a tombstone."""
        item_id = existing_id(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)

        async def planned(collection: Collection) -> Planned:
            key = keyed(context, item_id, "", b"")
            decide = decision.deleting(_writer(context), conditions, collection)
            return Planned(item_id, decide, key, collection=collection)

        return self._reply(context, None, await self._written(context, planned))

    async def _written(
        self, context: RequestContext, planned: Callable[[Collection], Awaitable[Planned]]
    ) -> Outcome:
        """The outcome of the change that is planned for the collection as it is.

        Where its definition has changed meanwhile, all is checked again, once; so is what would be
        refused by a definition that is outdated. Raises what ``planned`` raises, and
        DefinitionChanged for another change since.
        """
        try:
            change = await planned(context.collection)
            return await self._writer.write(_writer(context), change)
        except DefinitionChanged:
            context.collection = await self._collections.changed(context.collection)
        except (InvalidContent, BodyTooLarge):
            newer = await self._collections.newer(context.collection)
            if newer is None:
                raise
            context.collection = newer
        change = await planned(context.collection)
        return await self._writer.write(_writer(context), change)

    def _data(
        self, collection: Collection, sent: Sent, body: bytes, item_id: bytes | None
    ) -> bytes:
        """The JSON text of the data in a POST or PUT body of either version."""
        if sent.version == 1:
            data = v1.parse_body(body)
        else:
            data = v2_body.parse_body(body, item_id, collection.resource)
        self._collections.schema_of(collection).check_sent(data, _DATA_AT[sent.version])
        return data

    def _patched(
        self, collection: Collection, sent: Sent, body: bytes, item_id: bytes, base_url: str
    ) -> Callable[[Item], bytes]:
        """A function from the item to its new data. Raises the errors of the patch itself."""
        changed = self._applied(collection.resource, sent, body, item_id, base_url)
        schema, at = self._collections.schema_of(collection), _DATA_AT[sent.version]
        return lambda item: schema.check_patched(changed(item), at)

    def _applied(
        self, kind: Resource, sent: Sent, body: bytes, item_id: bytes, base_url: str
    ) -> Callable[[Item], bytes]:
        max_bytes = self._body_max_bytes
        if sent.media_type not in PATCHES:
            attributes = v2_body.parse_update(body, item_id, kind)
            return lambda item: v2_patch.updated(item, attributes, max_bytes)
        if sent.version == 1:
            patch = PATCHES[sent.media_type](body, v1.PATCH_MAX_DEPTH)
            return lambda item: v1.patched(item, patch, max_bytes)
        patch = PATCHES[sent.media_type](body, v2_patch.PATCH_MAX_DEPTH)
        return lambda item: v2_patch.patched(item, patch, max_bytes, base_url, kind)

    def _reply(
        self, context: RequestContext, wanted: Representation | None, outcome: Outcome
    ) -> Reply:
        if outcome.item is None or wanted is None:
            reply = Reply(204, [])
        else:
            status = 201 if outcome.kind == "created" else 200
            minimal = wants_minimal(context.headers)
            kind, base_url = context.collection.resource, self._replies.public_url.of(context)
            reply = self._replies.changed(outcome.item, wanted, base_url, kind, status, minimal)
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
    scopes.require(context.caller, context.collection.resource.write_scope)
    return context.caller
