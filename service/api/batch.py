"""POST /items:batch: many operations in one request, each with its own result.

Without ``atomic`` each operation behaves as its own request would, and operations on one item run
in order. With it they are one transaction on one shard: all of them take effect, or none.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence

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
from service.items.data_schema import DataSchema
from service.items.planned import IdempotencyKey, Planned
from service.items.reader import Reader
from service.items.write import ItemWriter
from service.items.write_atomic import AtomicWriter
from service.model.caller import Caller
from service.model.errors import HotshelfError, InternalError, ItemNotFound, Location
from service.model.item import Item

logger = logging.getLogger(__name__)

# Below the ten connections of a shard's pool by default; creations of one tick share one.
_AT_ONCE = 32


class Batch:
    """Answers batches. ``body_max_bytes`` is the largest body of a single write."""

    def __init__(
        self,
        gate: Gate,
        reader: Reader,
        writer: ItemWriter,
        atomic_writer: AtomicWriter,
        require_if_match: bool,
        body_max_bytes: int,
        schema: DataSchema,
        public_url: PublicUrl,
    ) -> None:
        self._gate = gate
        self._reader, self._writer = reader, writer
        self._atomic_writer = atomic_writer
        self._require_if_match = require_if_match
        self._body_max_bytes = body_max_bytes
        self._schema = schema
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
        body = await context.read_body(None if caller.may(scopes.WRITE) else READS_MAX_BYTES)
        if len(body) <= LONG_BYTES:
            operations, atomic = parse(body, self._body_max_bytes)
        else:
            operations, atomic = await BESIDE_THE_LOOP.run(parse, body, self._body_max_bytes)
        caller = context.caller
        assert caller is not None
        for scope in sorted({_SCOPES[one.name] for one in operations}):
            scopes.require(caller, scope)
        if self._schema.is_set:
            await offloaded(len(body), self._check_schema, operations)
        if len(operations) > 1:
            await self._gate.charge(context, len(operations) - 1)
        results = await (self._as_one if atomic else self._each)(caller, operations, shown)
        headers = [("content-type", wanted.media_type), ("cache-control", "no-store")]
        reply = Reply(200, [*headers, ("vary", VARY)], shown.body(results))
        return await coded(reply, coding)

    def _check_schema(self, operations: Sequence[BatchOperation]) -> None:
        for index, one in enumerate(operations):
            if one.name in ("create", "replace"):
                self._schema.check_sent(one.text, f"/operations/{index}/data")

    async def _as_one(
        self, caller: Caller, operations: Sequence[BatchOperation], shown: BatchResults
    ) -> list[bytes]:
        size_bytes = sum(len(one.text) for one in operations)
        planned = await offloaded(size_bytes, self._all_planned, caller, operations)
        outcomes = await self._atomic_writer.write(caller, planned)
        return [shown.of_write(outcome) for outcome in outcomes]

    async def _each(
        self, caller: Caller, operations: Sequence[BatchOperation], shown: BatchResults
    ) -> list[bytes]:
        results = [b""] * len(operations)
        queues: dict[bytes, list[int]] = {}
        for index, one in enumerate(operations):
            # Creations have no id yet, so they are in no order.
            queues.setdefault(one.item_id or index.to_bytes(2, "big"), []).append(index)
        room = asyncio.Semaphore(_AT_ONCE)

        async def run(queue: list[int]) -> None:
            for index in queue:
                async with room:
                    results[index] = await self._result(caller, operations[index], shown)

        await asyncio.gather(*map(run, queues.values()))
        return results

    async def _result(self, caller: Caller, one: BatchOperation, shown: BatchResults) -> bytes:
        try:
            if one.name == "get":
                return shown.of_read(one.item_id, await self._read(caller, one))
            planned = await offloaded(len(one.text), self._planned, caller, one)
            return shown.of_write(await self._writer.write(caller, planned))
        except HotshelfError as error:
            return shown.of_error(error)
        except Exception:
            logger.exception("batch-operation-failed")
            return shown.of_error(InternalError())

    async def _read(self, caller: Caller, one: BatchOperation) -> Stored:
        stored = await self._reader.get(one.item_id, caller.subject)
        if stored is None:
            raise ItemNotFound
        return stored

    def _all_planned(self, caller: Caller, operations: Sequence[BatchOperation]) -> list[Planned]:
        return [self._planned(caller, one, f"/operations/{n}") for n, one in enumerate(operations)]

    def _planned(self, caller: Caller, one: BatchOperation, where: str = "") -> Planned:
        """``where`` is the operation's pointer, for errors that refuse the whole batch."""
        key, tags = _key(one), one.conditions
        if one.name == "create":
            return Planned(None, decision.creating(caller, one.text), key, one.text)
        if one.name == "delete":
            return Planned(one.item_id, decision.deleting(caller, tags), key)
        if self._require_if_match:
            location = Location("is missing", f"{where}/if_match")
            check_precondition_sent(tags, one.name == "replace", location)
        if one.name == "replace":
            decide = decision.replacing(caller, one.text, tags)
            return Planned(one.item_id, decide, key, one.text)
        decide = decision.patching(caller, self._patched(one), tags)
        return Planned(one.item_id, decide, key, patch_bytes=len(one.text))

    def _patched(self, one: BatchOperation) -> Callable[[Item], bytes]:
        """A JSON Patch (array) or merge patch (object), applied to the v1 representation."""
        kind = JSON_PATCH if one.text.startswith(b"[") else MERGE_PATCH
        patch = PATCHES[kind](one.text, v1.PATCH_MAX_DEPTH)
        max_bytes = self._body_max_bytes
        return lambda item: self._schema.check_patched(v1.patched(item, patch, max_bytes), "/data")


_SCOPES = dict.fromkeys(("create", "replace", "patch", "delete"), scopes.WRITE) | {
    "get": scopes.READ
}


def _key(one: BatchOperation) -> IdempotencyKey | None:
    if one.key is None:
        return None
    return IdempotencyKey(one.key, hashlib.sha256(b"batch\0" + one.identity).digest())
