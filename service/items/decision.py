"""Decides a change on the item's locked row: existence, owner, If-Match, If-None-Match.

Each function returns the decision of one request; docs/api.md has the order of the checks. A
deleted item's id stays reserved for its owner, because links to it would otherwise lead to
another's data.
"""

from collections.abc import Callable
from typing import NamedTuple

from service.access import scopes
from service.model.caller import Caller
from service.model.change import Change, Decide
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


def replacing(caller: Caller, data: bytes, conditions: Conditions) -> Decide:
    """The item with new data; a new item if there is none, or only the caller's own tombstone."""

    def decide(row: Item | None) -> Change:
        current = _living(row)
        _check_owner(caller, row)
        _check(current, conditions)
        if current is None:
            return Change("created", data, caller.subject)
        return Change("changed", data)

    return decide


def patching(caller: Caller, patched: Callable[[Item], bytes], conditions: Conditions) -> Decide:
    """The item with the data that ``patched`` returns."""

    def decide(row: Item | None) -> Change:
        current = _existing(row)
        _check_owner(caller, current)
        _check(current, conditions)
        return Change("changed", patched(current), keeps_result=True)

    return decide


def deleting(caller: Caller, conditions: Conditions) -> Decide:
    """A tombstone in place of the item."""

    def decide(row: Item | None) -> Change:
        current = _existing(row)
        _check_owner(caller, current)
        _check(current, conditions)
        return Change("deleted")

    return decide


def _living(row: Item | None) -> Item | None:
    return None if row is None or row.deleted else row


def _existing(row: Item | None) -> Item:
    current = _living(row)
    if current is None:
        raise ItemNotFound
    return current


def _check_owner(caller: Caller, row: Item | None) -> None:
    """Raises NotOwner, even for another owner's tombstone."""
    if row is not None and row.owner_id != caller.subject and not caller.may(scopes.ADMIN):
        raise NotOwner("Only the item's owner or an admin may change it.")


def _check(current: Item | None, conditions: Conditions) -> None:
    """Check If-Match, then If-None-Match. Raises PreconditionFailed."""
    if conditions.if_match is not None and not conditions.if_match.matches_strongly(current):
        raise precondition_failed("if-match", current)
    if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(current):
        raise precondition_failed("if-none-match", current)
