"""What becomes of an item, decided on its locked row: existence, owner, If-Match, If-None-Match.

Each function makes the decision of one request; the order of the checks is that of docs/api.md. A
deleted item's id stays its owner's, because links to it would otherwise lead to another's data,
and its collection's. What the caller may not know of is decided about as if it were not there,
but for one thing: its id cannot be used.
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
    """The preconditions of one request; None where the header was not sent."""

    if_match: TagCondition | None = None
    if_none_match: TagCondition | None = None


def creating(caller: Caller, data: bytes) -> Decide:
    """A new item under an id that was minted for it."""
    return lambda _: Change("created", data, caller.subject)


def replacing(
    caller: Caller,
    data: bytes,
    conditions: Conditions,
    collection: Collection = ITEMS_BY_DEFAULT,
) -> Decide:
    """The item with other data; a new one where there is none, or the caller's own tombstone.

    It raises ItemNotFound for an id that is another collection's, or one of a hidden item.
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
    """The item with the data that ``patched`` makes of it."""

    def decide(row: Item | None) -> Change:
        current = _existing(caller, collection, row)
        _check(current, conditions)
        return Change("changed", patched(current), keeps_result=True)

    return decide


def deleting(
    caller: Caller, conditions: Conditions, collection: Collection = ITEMS_BY_DEFAULT
) -> Decide:
    """A tombstone instead of the item."""

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
    """Raises NotOwner, for another's tombstone as well."""
    if row is None or collection.definition.write is WriteRule.ANY:
        return
    if row.owner_id != caller.subject and not caller.is_admin:
        raise NotOwner("Only the item's owner or an admin may change it.")


def _check(current: Item | None, conditions: Conditions) -> None:
    """If-Match, If-None-Match, in that order. Raises PreconditionFailed."""
    if conditions.if_match is not None and not conditions.if_match.matches_strongly(current):
        raise precondition_failed("if-match", current)
    if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(current):
        raise precondition_failed("if-none-match", current)
