"""/v1/collections: what kinds of items there are, for operators."""

from contextlib import suppress
from typing import Any

import orjson

from service.api.change_item import check_precondition_sent
from service.api.fingerprint import keyed
from service.api.headers.media_types import check_json_body
from service.api.headers.preconditions import conditions_of
from service.api.public_url import PublicUrl
from service.api.query import parameters
from service.api.represent import collections as represent
from service.api.request import Reply, RequestContext
from service.items.collection_changes import CollectionChanges
from service.items.collection_indexes import CollectionIndexes
from service.items.collections import Collections
from service.items.decision import Conditions
from service.model.change import Claim
from service.model.collection import DEFINITION_MAX_BYTES, Collection
from service.model.entity_tag import entity_tag, precondition_failed
from service.model.errors import (
    DatabaseTimeout,
    HotshelfError,
    InvalidHeader,
    InvalidParameter,
    Location,
)

PATH = "/v1/collections"
# Repeats the name, so that no mistyped or replayed URL removes items.
CONFIRMATION = "confirm-drop"
_HEADERS = [("content-type", "application/json"), ("cache-control", "private, no-cache")]


class CollectionsEndpoints:
    """Read, make, change and drop collections. Their scope is checked before."""

    def __init__(
        self,
        collections: Collections,
        indexes: CollectionIndexes,
        changes: CollectionChanges,
        require_if_match: bool,
        public_url: PublicUrl,
    ) -> None:
        self._collections = collections
        self._indexes = indexes
        self._changes = changes
        self._require_if_match = require_if_match
        self._public_url = public_url

    async def list(self, context: RequestContext) -> Reply:
        """GET /v1/collections: all by name, without their schemas."""
        parameters(context.query_string, ())
        await self._be_current()
        shown = [
            {name: value for name, value in represent.members(c).items() if name != "schema"}
            for _, c in sorted(self._collections.by_name.items())
        ]
        return Reply(200, [*_HEADERS], orjson.dumps({"collections": shown}))

    async def get(self, context: RequestContext) -> Reply:
        """GET /v1/collections/{name}. Raises NoSuchCollection, PreconditionFailed."""
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        await self._be_current()
        collection = self._collections.find(context.path_params["collection"])
        if conditions.if_match is not None and not conditions.if_match.matches_strongly(collection):
            raise precondition_failed("if-match", collection)
        reply = _reply(200, collection)
        if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(
            collection
        ):
            return Reply(304, [field for field in reply.headers if field[0] != "content-type"])
        return reply

    async def indexes(self, context: RequestContext) -> Reply:
        """GET /v1/collections/{name}/indexes: how far the index of each attribute is.

        Raises NoSuchCollection, ShardUnavailable, DatabaseTimeout.
        """
        parameters(context.query_string, ())
        await self._be_current()
        collection = self._collections.find(context.path_params["collection"])
        try:
            progress = await self._indexes.progress(collection)
        except TimeoutError:
            raise DatabaseTimeout from None
        headers = [("content-type", "application/json"), ("cache-control", "no-store")]
        return Reply(200, headers, orjson.dumps({"indexes": represent.indexes(progress)}))

    async def put(self, context: RequestContext) -> Reply:
        """PUT /v1/collections/{name}. Raises what ``CollectionChanges.put`` raises."""
        name = context.path_params["collection"]
        check_json_body(context)
        parameters(context.query_string, ())
        conditions = conditions_of(context.headers)
        if self._require_if_match:
            location = Location("is missing", header="if-match")
            check_precondition_sent(conditions, may_create=True, location=location)
        body = await context.read_body(DEFINITION_MAX_BYTES)
        definition = represent.parse(body, name)
        claim = _claim(context, name, "application/json", body)
        put = await self._changes.put(name, definition, conditions, claim)
        reply = _reply(201 if put.is_new else 200, put.collection)
        if put.is_new:
            reply.headers.append(("location", f"{self._public_url.of(context)}{PATH}/{name}"))
        return _marked(reply, put.replayed)

    async def delete(self, context: RequestContext) -> Reply:
        """DELETE /v1/collections/{name}. Raises what ``CollectionChanges.drop`` raises."""
        name = context.path_params["collection"]
        force = _is_set(parameters(context.query_string, ("force",)))
        conditions: Conditions = conditions_of(context.headers)
        if force and context.headers.get(CONFIRMATION) != [name]:
            raise InvalidHeader(
                "Confirm-Drop has to repeat the collection's name.",
                Location("is not the name in the URL", header=CONFIRMATION),
            )
        claim = _claim(context, name, "", b"")
        dropped = await self._changes.drop(name, conditions, with_items=force, claim=claim)
        return _marked(Reply(204, []), not dropped)

    async def _be_current(self) -> None:
        """As new as any other worker's answer; while the first shard is away, what is known."""
        with suppress(HotshelfError, TimeoutError):
            await self._collections.refresh()


def _reply(status: int, collection: Collection) -> Reply:
    body: dict[str, Any] = represent.members(collection)
    return Reply(status, [*_HEADERS, ("etag", entity_tag(collection))], orjson.dumps(body))


def _claim(context: RequestContext, name: str, media_type: str, body: bytes) -> Claim | None:
    """The claim to the request's idempotency key. Raises InvalidHeader."""
    sent = keyed(context, None, media_type, body)
    if sent is None:
        return None
    assert context.caller is not None
    return Claim(0, context.caller.subject, name.encode(), sent.key, sent.fingerprint)


def _marked(reply: Reply, replayed: bool) -> Reply:
    if replayed:
        reply.headers.append(("idempotency-replayed", "true"))
    return reply


def _is_set(sent: dict[str, str]) -> bool:
    value = sent.get("force", "false")
    if value not in ("", "true", "false"):
        raise InvalidParameter(
            "force is true or false.", Location("is neither true nor false", parameter="force")
        )
    return value != "false"
