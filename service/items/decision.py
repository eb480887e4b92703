"""Decides a change on the item's locked row: existence, owner, If-Match, If-None-Match.

Each function returns the decision of one request; docs/api.md has the order of the checks. A
deleted item's id stays reserved for its owner, because links to it would otherwise lead to
another's data, and for its collection. An item that is hidden from the caller is treated as
absent, except that its id cannot be used.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from service.items.visibility import is_hidden, visible
from service.model.caller import Caller
from service.model.change import Change, Decide
from service.model.collection import ITEMS_BY_DEFAULT, Collection, WriteRule
from service.model.entity_tag import TagCondition, precondition_failed
from service.model.errors import ItemNotFound, NotOwner
from service.model.item import Item


class Conditions(NamedTuple):
    """The preconditions of one request; None if the header was not sent."""

    if_match: TagCondition | None = None
    if_none_match: TagCondition | None = None


def creating(caller: Caller, data: bytes) -> Decide:
    """A new item with a newly minted id."""
    return lambda _: Change("created", data, caller.subject)


def replacing(
    caller: Caller,
    data: bytes,
    conditions: Conditions,
    collection: Collection = ITEMS_BY_DEFAULT,
) -> Decide:
    """The item with new data; a new item if there is none, or only the caller's own tombstone.

    It raises ItemNotFound for an id of another collection's, or of a hidden item.
    """

    def decide(row: Item | None) -> Change:
        current = visible(collection, caller, row, time.time())
        is_taken = row is not None and is_hidden(collection, caller, row)
        if not is_taken:
            _check_owner(caller, collection, row)
        _check(current, conditions)
        if is_taken:
            raise ItemNotFound
        if current is None:
            return Change("created", data, caller.subject)
        return Change("changed", data)

    return decide


def patching(
    caller: Caller,
    patched: Callable[[Item], bytes],
    conditions: Conditions,
    collection: Collection = ITEMS_BY_DEFAULT,
) -> Decide:
    """The item with the data that ``patched`` returns."""

    def decide(row: Item | None) -> Change:
        current = _existing(caller, collection, row)
        _check(current, conditions)
        return Change("changed", patched(current), keeps_result=True)

    return decide


def deleting(
    caller: Caller, conditions: Conditions, collection: Collection = ITEMS_BY_DEFAULT
) -> Decide:
    """A tombstone in place of the item."""

    def decide(row: Item | None) -> Change:
        current = _existing(caller, collection, row)
        _check(current, conditions)
        return Change("deleted")

    return decide


def _existing(caller: Caller, collection: Collection, row: Item | None) -> Item:
    """The item, which the caller may change. Raises ItemNotFound, NotOwner."""
    current = visible(collection, caller, row, time.time())
    if current is None:
        raise ItemNotFound
    _check_owner(caller, collection, current)
    return current


def _check_owner(caller: Caller, collection: Collection, row: Item | None) -> None:
    """Raises NotOwner, even for another owner's tombstone."""
    if row is None or collection.definition.write is WriteRule.ANY:
        return
    if row.owner_id != caller.subject and not caller.is_admin:
        raise NotOwner("Only the item's owner or an admin may change it.")


def _check(current: Item | None, conditions: Conditions) -> None:
    """Check If-Match, then If-None-Match. Raises PreconditionFailed."""
    if conditions.if_match is not None and not conditions.if_match.matches_strongly(current):
        raise precondition_failed("if-match", current)
    if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(current):
        raise precondition_failed("if-none-match", current)
