"""Creating, changing and dropping collections, acknowledged when all shards have it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import orjson

from service.flow.deadline import within
from service.items.collections import Collections
from service.items.data_schema import DataSchema
from service.items.decision import Conditions
from service.model.change import Claim
from service.model.collection import (
    NUMBER_MAX,
    Collection,
    Definition,
    check_name,
    stored_collection,
)
from service.model.entity_tag import precondition_failed
from service.model.errors import (
    CollectionFixed,
    CollectionNotEmpty,
    DatabaseTimeout,
    InvalidContent,
    Location,
    NoSuchCollection,
)
from service.model.resource import ITEMS
from service.settings import Collections as Bounds
from service.store.collection_requests import Request
from service.store.collections import (
    Changed,
    StoredCollection,
    change_collection,
    drop_collection,
    named,
    newest,
    was_dropped,
)
from service.store.shards import Shards

T = TypeVar("T")


class Defined(NamedTuple):
    """A collection as a change left it; ``replayed``: the same request made that change before."""

    collection: Collection
    is_new: bool
    replayed: bool = False


class CollectionChanges:
    """What an operator changes. ``collections`` are the worker's own, brought up to date after.

    A change that is cut off between two shards is completed by its repetition, and by any worker.
    Idempotency records are valid for ``ttl_s`` seconds.
    """

    def __init__(
        self,
        collections: Collections,
        shards: Shards,
        bounds: Bounds,
        timeout_s: float,
        ttl_s: float,
    ) -> None:
        self._collections = collections
        self._shards = shards
        self._bounds = bounds
        self._timeout_s, self._ttl_s = timeout_s, ttl_s

    async def put(
        self,
        name: str,
        definition: Definition,
        conditions: Conditions,
        claim: Claim | None = None,
    ) -> Defined:
        """The collection as it is then.

        A definition that stands already is a success whatever If-Match says (RFC 9110 section
        13.1.1). Raises InvalidParameter for the name, CollectionFixed, InvalidContent,
        PreconditionFailed, IdempotencyKeyReused, and for databases ShardUnavailable,
        DatabaseTimeout or Overloaded.
        """
        _check_not_fixed(name)
        check_name(name)
        _check_schema(definition)

        def decide(rows: Sequence[StoredCollection]) -> bytes | None:
            known = named(rows, name)
            current = None if known is None else _collection(known)
            if current is not None and current.definition == definition:
                _check_none_match(current, conditions)
                return None
            _check(current, conditions)
            text = orjson.dumps(definition.members())
            self._check_bounds(rows, name, definition, text)
            return text

        async def change() -> Changed:
            shards, request = self._shards.all, self._request(claim)
            above = max(await asyncio.gather(*map(newest, shards)))
            changed = await _patiently(
                lambda: change_collection(shards[0], name, above, decide, request)
            )
            await _patiently(self._collections.complete)
            return changed

        row, kind, replayed = await self._in_time(change())
        return Defined(_collection(row), kind == "created", replayed)

    async def drop(
        self, name: str, conditions: Conditions, with_items: bool, claim: Claim | None = None
    ) -> bool:
        """Drop it, at once for readers; what it holds is removed in the background.

        False if the same request did so before. Raises CollectionFixed, NoSuchCollection,
        PreconditionFailed, CollectionNotEmpty, IdempotencyKeyReused, and for databases the same
        as ``put``.
        """
        _check_not_fixed(name)
        shards, request = self._shards.all, self._request(claim)
        if request is not None and await self._in_time(was_dropped(shards[0], request)):
            return False
        await self._in_time(self._collections.refresh())
        number = self._collections.find(name).number

        def decide(rows: Sequence[StoredCollection], has_items: bool) -> None:
            row = named(rows, name)
            if row is None or row.number != number:
                raise NoSuchCollection
            _check(_collection(row), conditions)
            if has_items and not with_items:
                raise CollectionNotEmpty(
                    "The collection holds items, which would be removed with it."
                )

        async def drop() -> bool:
            return await _patiently(lambda: drop_collection(shards, number, decide, request))

        return await self._in_time(drop())

    def _request(self, claim: Claim | None) -> Request | None:
        return None if claim is None else Request(claim, self._ttl_s)

    async def _in_time(self, change: Awaitable[T]) -> T:
        """Raises DatabaseTimeout; what was begun is completed by others then."""

        async def changed() -> T:
            made = await change
            await self._collections.refresh()
            return made

        try:
            return await within(self._timeout_s, changed())
        except TimeoutError:
            raise DatabaseTimeout from None

    def _check_bounds(
        self, rows: Sequence[StoredCollection], name: str, definition: Definition, text: bytes
    ) -> None:
        others = [row for row in rows if row.name is not None and row.name != name]
        if len(rows) >= NUMBER_MAX and named(rows, name) is None:
            raise InvalidContent(f"This installation has made {NUMBER_MAX} collections.")
        attributes = len(definition.attributes) + sum(
            len(_collection(row).definition.attributes) for row in others
        )
        buckets = self._shards.buckets
        if definition.attributes and attributes * buckets > self._bounds.max_indexes:
            raise InvalidContent(
                f"{attributes} declared attributes in {buckets} buckets are "
                f"{attributes * buckets} indexes; collections.max_indexes allows "
                f"{self._bounds.max_indexes}.",
                Location("declares too many", pointer="/attributes"),
            )
        size = len(text) + sum(len(row.definition) for row in others)
        if size > self._bounds.definitions_max_bytes:
            raise InvalidContent(
                f"All definitions together would have {size} bytes; "
                f"collections.definitions_max_bytes allows {self._bounds.definitions_max_bytes}."
            )


def _check_not_fixed(name: str) -> None:
    if name == ITEMS.name:
        raise CollectionFixed


def _check_schema(definition: Definition) -> None:
    try:
        DataSchema.of(definition.schema)
    except ValueError as error:
        location = Location(f"is {str(error)[:300]}", pointer="/schema")
        raise InvalidContent("This cannot define a collection.", location) from None


def _check(current: Collection | None, conditions: Conditions) -> None:
    if conditions.if_match is not None and not conditions.if_match.matches_strongly(current):
        raise precondition_failed("if-match", current)
    _check_none_match(current, conditions)


def _check_none_match(current: Collection | None, conditions: Conditions) -> None:
    if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(current):
        raise precondition_failed("if-none-match", current)


def _collection(row: StoredCollection) -> Collection:
    assert row.name is not None
    return stored_collection(row.number, row.name, row.version, row.definition, row.updated_at)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Run it again while a lock is not free: until the deadline around this ends it."""
    while True:
        try:
            return await work()
        except DatabaseTimeout:
            await asyncio.sleep(0.05)
