"""What is read is answered by the definition that is known when the read has ended."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.cache import layout
from service.cache.layout import ItemEntry
from service.items.coherence import Stored
from service.items.collections import Collections
from service.items.visible_reader import VisibleReader
from service.model.caller import Caller
from service.model.collection import Collection, Definition, Read, items_collection
from service.model.errors import NoSuchCollection, Unauthenticated
from service.model.item import Item
from service.model.resource import Resource
from tests.fixtures.entries import ITEM_ID, item

OWNER = item().owner_id
STRANGER = Caller("mallory", frozenset({"*:read"}))
ADMIN = Caller("olga", frozenset({"items:admin"}))
ANY = Definition()
OWNED = Definition(read=Read.OWNER)
PUBLIC = Definition(read=Read.PUBLIC)


class _Reader:
    """Finds an item of collection 1; meanwhile something happens."""

    def __init__(self, found: Item, meanwhile: Callable[[], None]) -> None:
        body = b'{"data":{}}'
        value = layout.encode_item(1, found._replace(collection=1), body, 8, 0)
        self.stored = Stored(ItemEntry(value), "redis")
        self._meanwhile = meanwhile
        self.asked_primary = 0

    async def get_where(self, *_: object) -> tuple[Stored, str]:
        self._meanwhile()
        return self.stored, "redis"

    async def get_primary(self, _: bytes) -> Stored:
        self.asked_primary += 1
        return self.stored


def _read(
    first: Definition,
    then: Definition | None,
    caller: Caller | None,
    now_s: float = 0.0,
    collection: int = 1,
) -> tuple[Stored | None, str, int]:
    """What a read begun under one definition answers under another, and primaries asked."""
    known = Collection(collection, Resource("products"), 1, first)
    collections = Collections(items_collection(), [])
    collections.by_number = {collection: known}

    def change() -> None:
        changed = {} if then is None else {collection: replace(known, version=2, definition=then)}
        collections.by_number = changed

    reader: Any = _Reader(item(), change)
    visible = VisibleReader(reader, collections, lambda: now_s)
    stored, source = asyncio.run(visible.get_where(known, ITEM_ID, caller))
    return stored, source, reader.asked_primary


@pytest.mark.parametrize("first", [ANY, PUBLIC])
def test_what_was_read_while_others_might_is_hidden_once_only_owners_may(
    first: Definition,
) -> None:
    assert _read(first, OWNED, STRANGER) == (None, "", 1)
    for caller in (Caller(OWNER, frozenset()), ADMIN):
        stored, source, asked = _read(first, OWNED, caller)
        assert stored is not None
        assert (source, asked) == ("redis", 0)


def test_what_was_public_is_no_longer_for_nobody() -> None:
    for then in (ANY, OWNED):
        with pytest.raises(Unauthenticated):
            _read(PUBLIC, then, None)
    assert _read(PUBLIC, PUBLIC, None)[0] is not None


def test_what_was_only_for_owners_is_answered_once_it_is_for_all() -> None:
    assert _read(OWNED, ANY, STRANGER)[0] is not None


def test_a_collection_that_was_dropped_meanwhile_has_nothing() -> None:
    with pytest.raises(NoSuchCollection):
        _read(ANY, None, STRANGER)


def test_an_item_of_another_collection_is_not_there() -> None:
    assert _read(ANY, ANY, STRANGER, collection=2)[0] is None
    assert _read(ANY, ANY, ADMIN, collection=0)[0] is None


def test_an_item_is_there_until_its_time_is_over() -> None:
    ends_s = item().updated_at.timestamp() + 60
    then = Definition(ttl_s=60)
    assert _read(ANY, then, STRANGER, ends_s - 0.001)[0] is not None
    for now_s in (ends_s, ends_s + 1e9):
        assert _read(ANY, then, STRANGER, now_s)[0] is None
