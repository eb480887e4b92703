"""Creating, replacing and deleting items: what is checked on the locked row, and in what order.

The order is API.md's: existence, owner, If-Match, If-None-Match. Everything is decided inside
the transaction that makes the change, so no other writer can come between.
"""

import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from service import native
from service.access import scopes
from service.access.tokens import Caller
from service.flow.deadline import within
from service.model.entity_tag import TagCondition, precondition_failed
from service.model.errors import (
    DatabaseTimeout,
    ItemNotFound,
    NotOwner,
    Overloaded,
)
from service.model.item import Item
from service.store.shards import Shards
from service.store.writes import LockedItem, insert_item, locked_item

T = TypeVar("T")

# How often a PUT that creates may find that another one was faster, and look again.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Conditions:
    """The preconditions of one request; None where the header was not sent."""

    if_match: TagCondition | None = None
    if_none_match: TagCondition | None = None


class ItemWriter:
    """All changes to items. Every method raises ShardUnavailable, Overloaded or DatabaseTimeout."""

    def __init__(self, shards: Shards, timeout_s: float) -> None:
        self._shards = shards
        self._timeout_s = timeout_s

    async def create(self, caller: Caller, key: str, data: bytes) -> Item:
        """A new item under an id minted now, in the bucket that the idempotency key chooses."""
        bucket = native.hash_bytes([caller.subject.encode(), key.encode()]) % self._shards.buckets
        item_id = native.mint_in_bucket(time.time_ns() // 1_000_000, bucket, self._shards.buckets)
        return await self._in_time(self._create(caller, item_id, data))

    async def replace(
        self, caller: Caller, item_id: bytes, data: bytes, conditions: Conditions
    ) -> tuple[Item, bool]:
        """The item with its new data, and whether it was created.

        Raises NotOwner, PreconditionFailed.
        """
        return await self._in_time(self._replace(caller, item_id, data, conditions))

    async def delete(self, caller: Caller, item_id: bytes, conditions: Conditions) -> None:
        """Leave a tombstone. Raises ItemNotFound, NotOwner, PreconditionFailed."""
        await self._in_time(self._delete(caller, item_id, conditions))

    async def _create(self, caller: Caller, item_id: bytes, data: bytes) -> Item:
        shard = await self._shards.of(item_id)
        return await insert_item(shard, item_id, caller.subject, data)

    async def _replace(
        self, caller: Caller, item_id: bytes, data: bytes, conditions: Conditions
    ) -> tuple[Item, bool]:
        shard = await self._shards.of(item_id)
        for _ in range(_ATTEMPTS):
            async with locked_item(shard, item_id) as row:
                current = _living(row)
                _check(caller, current, conditions)
                if current is not None:
                    return await row.replace(data), False
                created = await row.create(caller.subject, data)
            if created is not None:
                return created, True
        raise Overloaded("Too many writers want this id at once.", retry_after_s=1)

    async def _delete(self, caller: Caller, item_id: bytes, conditions: Conditions) -> None:
        shard = await self._shards.of(item_id)
        async with locked_item(shard, item_id) as row:
            current = _living(row)
            if current is None:
                raise ItemNotFound("There is no item with this id.")
            _check(caller, current, conditions)
            await row.delete()

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._timeout_s, work)
        except TimeoutError:
            raise DatabaseTimeout("The database took too long.", retry_after_s=1) from None


def _living(row: LockedItem) -> Item | None:
    return None if row.current is None or row.current.deleted else row.current


def _check(caller: Caller, current: Item | None, conditions: Conditions) -> None:
    """Owner, If-Match, If-None-Match, in that order. Raises NotOwner, PreconditionFailed."""
    if current is not None and current.owner_id != caller.subject and not caller.may(scopes.ADMIN):
        raise NotOwner("Only the item's owner or an admin may change it.")
    if conditions.if_match is not None and not conditions.if_match.matches_strongly(current):
        raise precondition_failed("if-match", current)
    if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(current):
        raise precondition_failed("if-none-match", current)
