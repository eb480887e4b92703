"""POST /items:batch: many operations in one request, each with its own result.

Without ``atomic`` each operation behaves as its own request would, and operations on one item run
in order. With it they are one transaction on one shard: all of them take effect, or none.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.access import scopes
from service.api.batch_body import READS_MAX_BYTES, BatchOperation, parse
from service.api.change_item import PATCHES, check_precondition_sent, offloaded
from service.api.gate import Gate
from service.api.headers.content_codings import choose_coding, coded
from service.api.headers.media_types import JSON_PATCH, MERGE_PATCH, check_accept, check_batch_body
from service.api.public_url import PublicUrl
from service.api.query import parameters
from service.api.represent import v1
from service.api.represent.batch_results import BatchResults
from service.api.represent.item_reply import VARY
from service.api.request import Reply, RequestContext
from service.flow.offload import BESIDE_THE_LOOP, LONG_BYTES
from service.items import decision
from service.items.coherence import Stored
from service.items.collections import Collections
from service.items.data_schema import DataSchema
from service.items.planned import IdempotencyKey, Planned
from service.items.visible_reader import VisibleReader
from service.items.write import ItemWriter
from service.items.write_atomic import AtomicWriter
from service.model.caller import Caller
from service.model.change import Outcome
from service.model.collection import Collection
from service.model.errors import (
    BodyTooLarge,
    DefinitionChanged,
    HotshelfError,
    InternalError,
    InvalidContent,
    ItemNotFound,
    Location,
)
from service.model.item import Item
from service.model.locations import Locations

logger = logging.getLogger(__name__)

# Below the ten connections of a shard's pool by default; creations of one tick share one.
_AT_ONCE = 32


class Batch:
    """Answers batches. ``body_max_bytes`` is the largest body of a single write."""

    def __init__(
        self,
        gate: Gate,
        visible: VisibleReader,
        writer: ItemWriter,
        atomic_writer: AtomicWriter,
        require_if_match: bool,
        body_max_bytes: int,
        collections: Collections,
        public_url: PublicUrl,
    ) -> None:
        self._gate = gate
        self._visible, self._writer = visible, writer
        self._atomic_writer = atomic_writer
        self._require_if_match = require_if_match
        self._body_max_bytes = body_max_bytes
        self._collections = collections
        self._public_url = public_url

    async def post(self, context: RequestContext) -> Reply:
        """The results in the operations' order; a batch of n costs n requests."""
        check_batch_body(context)
        wanted, coding = check_accept(context), choose_coding(context.headers)
        shown = BatchResults(wanted.version, self._public_url.of(context))
        parameters(context.query_string, ())
        caller = context.caller
        assert caller is not None
        # Smaller for callers that may only read, because reads are short.
        may_write = caller.may(context.collection.resource.write_scope)
        body = await context.read_body(None if may_write else READS_MAX_BYTES)
        if len(body) <= LONG_BYTES:
            operations, atomic = parse(body, self._body_max_bytes)
        else:
            operations, atomic = await BESIDE_THE_LOOP.run(parse, body, self._body_max_bytes)
        caller = context.caller
        assert caller is not None
        placed = self._placed(context.collection, operations)
        for scope in sorted({one.scope for one in placed}):
            scopes.require(caller, scope)
        placed = await self._checked(placed)
        if len(operations) > 1:
            await self._gate.charge(context, len(operations) - 1)
        results = await (self._as_one if atomic else self._each)(caller, placed, shown)
        headers = [("content-type", wanted.media_type), ("cache-control", "no-store")]
        reply = Reply(200, [*headers, ("vary", VARY)], shown.body(results))
        return await coded(reply, coding)

    def _placed(self, default: Collection, operations: Sequence[BatchOperation]) -> "list[_Placed]":
        """Each operation with its collection. Raises InvalidContent where there is none."""
        by_name = self._collections.by_name
        wrong = Locations()
        placed = []
        for index, one in enumerate(operations):
            collection = default if one.collection is None else by_name.get(one.collection)
            if collection is None:
                detail = "names no collection"
                wrong.add(Location(detail, pointer=f"/operations/{index}/collection"))
            else:
                placed.append(_Placed(collection, one))
        wrong.raise_any(InvalidContent, "An operation is of no collection.")
        return placed

    async def _checked(self, placed: "list[_Placed]") -> "list[_Placed]":
        """The operations under definitions that their data match. Raises as ``_check_data``."""
        try:
            await self._check_data(placed)
        except (InvalidContent, BodyTooLarge):
            # Under outdated ones, perhaps.
            outdated = {one.collection.number: one.collection for one in placed}
            newer = {n: await self._collections.newer(c) for n, c in outdated.items()}
            if not any(newer.values()):
                raise
            placed = [
                one._replace(collection=newer[one.collection.number] or one.collection)
                for one in placed
            ]
            await self._check_data(placed)
        return placed

    async def _check_data(self, placed: "Sequence[_Placed]") -> None:
        """Raises InvalidContent and BodyTooLarge."""
        to_check = [
            (schema, one.text, f"/operations/{index}/data")
            for index, (collection, one) in enumerate(placed)
            if one.name in ("create", "replace")
            and (schema := self._collections.schema_of(collection)).is_set
        ]
        await offloaded(sum(len(text) for _, text, _ in to_check), _check_each, to_check)

    async def _as_one(
        self, caller: Caller, placed: "Sequence[_Placed]", shown: BatchResults
    ) -> list[bytes]:
        size_bytes = sum(len(one.text) for _, one in placed)
        planned = await offloaded(size_bytes, self._all_planned, caller, placed)
        try:
            outcomes = await self._atomic_writer.write(caller, planned)
        except DefinitionChanged:
            placed = [await self._placed_again(one) for one in placed]
            await self._check_data(placed)
            planned = await offloaded(size_bytes, self._all_planned, caller, placed)
            outcomes = await self._atomic_writer.write(caller, planned)
        pairs = zip(outcomes, placed, strict=True)
        return [shown.of_write(outcome, one.collection.resource) for outcome, one in pairs]

    async def _placed_again(self, placed: "_Placed") -> "_Placed":
        """The same operation under the definition as it is now."""
        if not placed.collection.number:
            return placed
        return placed._replace(collection=await self._collections.changed(placed.collection))

    async def _each(
        self, caller: Caller, placed: "Sequence[_Placed]", shown: BatchResults
    ) -> list[bytes]:
        results = [b""] * len(placed)
        queues: dict[bytes, list[int]] = {}
        for index, (_, one) in enumerate(placed):
            # Creations have no id yet, so they are in no order.
            queues.setdefault(one.item_id or index.to_bytes(2, "big"), []).append(index)
        room = asyncio.Semaphore(_AT_ONCE)

        async def run(queue: list[int]) -> None:
            for index in queue:
                async with room:
                    results[index] = await self._result(caller, placed[index], shown)

        await asyncio.gather(*map(run, queues.values()))
        return results

    async def _result(self, caller: Caller, placed: "_Placed", shown: BatchResults) -> bytes:
        collection, one = placed
        kind = collection.resource
        try:
            if one.name == "get":
                return shown.of_read(one.item_id, await self._read(caller, placed), kind)
            try:
                return shown.of_write(await self._write(caller, placed), kind)
            except DefinitionChanged:
                placed = await self._placed_again(placed)
                if one.name in ("create", "replace"):
                    schema = self._collections.schema_of(placed.collection)
                    await offloaded(len(one.text), schema.check_sent, one.text, "/data")
                return shown.of_write(await self._write(caller, placed), kind)
        except HotshelfError as error:
            return shown.of_error(error)
        except Exception:
            logger.exception("batch-operation-failed")
            return shown.of_error(InternalError())

    async def _read(self, caller: Caller, placed: "_Placed") -> Stored:
        collection, one = placed
        stored, _ = await self._visible.get_where(collection, one.item_id, caller)
        if stored is None:
            raise ItemNotFound
        return stored

    async def _write(self, caller: Caller, placed: "_Placed") -> Outcome:
        planned = await offloaded(len(placed.operation.text), self._planned, caller, placed)
        return await self._writer.write(caller, planned)

    def _all_planned(self, caller: Caller, placed: "Sequence[_Placed]") -> list[Planned]:
        return [self._planned(caller, one, f"/operations/{n}") for n, one in enumerate(placed)]

    def _planned(self, caller: Caller, placed: "_Placed", where: str = "") -> Planned:
        """``where`` is the operation's pointer, for errors that refuse the whole batch."""
        collection, one = placed
        key, tags = placed.key, one.conditions
        if one.name == "create":
            decide = decision.creating(caller, one.text)
            return Planned(None, decide, key, one.text, collection=collection)
        if one.name == "delete":
            decide = decision.deleting(caller, tags, collection)
            return Planned(one.item_id, decide, key, collection=collection)
        if self._require_if_match:
            location = Location("is missing", f"{where}/if_match")
            check_precondition_sent(tags, one.name == "replace", location)
        if one.name == "replace":
            decide = decision.replacing(caller, one.text, tags, collection)
            return Planned(one.item_id, decide, key, one.text, collection=collection)
        decide = decision.patching(caller, self._patched(placed), tags, collection)
        return Planned(one.item_id, decide, key, patch_bytes=len(one.text), collection=collection)

    def _patched(self, placed: "_Placed") -> Callable[[Item], bytes]:
        """A JSON Patch (array) or merge patch (object), applied to the v1 representation."""
        one, schema = placed.operation, self._collections.schema_of(placed.collection)
        kind = JSON_PATCH if one.text.startswith(b"[") else MERGE_PATCH
        patch = PATCHES[kind](one.text, v1.PATCH_MAX_DEPTH)
        max_bytes = self._body_max_bytes
        return lambda item: schema.check_patched(v1.patched(item, patch, max_bytes), "/data")


def _check_each(to_check: Sequence[tuple[DataSchema, bytes, str]]) -> None:
    for schema, data, at in to_check:
        schema.check_sent(data, at)


class _Placed(NamedTuple):
    """An operation in its collection."""

    collection: Collection
    operation: BatchOperation

    @property
    def scope(self) -> str:
        kind = self.collection.resource
        return kind.read_scope if self.operation.name == "get" else kind.write_scope

    @property
    def key(self) -> IdempotencyKey | None:
        one, number = self.operation, self.collection.number
        if one.key is None:
            return None
        of = b"batch\0" if not number else b"batch %d\0" % number
        return IdempotencyKey(one.key, hashlib.sha256(of + one.identity).digest())
