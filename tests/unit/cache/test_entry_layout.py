"""The bytes of entries: whole round trips, and an order that Python can see."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cache import layout
from service.cache.layout import ABSENT, FILL_LEASE, INVALIDATION, ITEM, TOMBSTONE, ItemEntry
from service.model.item import Item
from tests.fixtures.entries import ITEM_ID, entry, item

items = st.builds(
    Item,
    st.just(ITEM_ID),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.integers(1, (1 << 63) - 1),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(timezones=st.just(UTC)),
    st.binary(min_size=2).map(lambda b: b"{" + b + b"}"),
    st.integers(0, (1 << 15) - 1),
)


@given(items, st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
def test_an_item_comes_out_of_its_entry_as_it_went_in(thing: Item, epoch: int, born_s: int) -> None:
    assert thing.data is not None
    body = b'{"owner":"x","data":%b}' % thing.data
    value = layout.encode_item(epoch, thing, body, body.index(thing.data), born_s)
    assert layout.kind_of(value, epoch) == ITEM
    read = ItemEntry(value)
    assert read.item(ITEM_ID) == thing
    assert (read.version, read.content_hash.decode()) == thing.tag
    assert (read.epoch, read.born_s, read.body) == (epoch, born_s, body)
    assert value.startswith(read.identity)


@given(*[st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1))] * 2)
def test_version_stamps_compare_as_bytes(one: tuple[int, int], other: tuple[int, int]) -> None:
    stamps = [layout.stamp_of(layout.new_invalidation(*pair)) for pair in (one, other)]
    assert (stamps[0] < stamps[1]) is (one < other)


def test_values_of_older_epochs_or_unknown_kinds_count_as_absent() -> None:
    older, newer = layout.epoch_of(1, 2), layout.epoch_of(2, 1)
    values = {
        ITEM: entry(epoch=older),
        TOMBSTONE: layout.encode_missing(older, item(3)),
        ABSENT: layout.encode_missing(older, None),
        INVALIDATION: layout.new_invalidation(older, 3),
        FILL_LEASE: layout.new_fill_lease(older),
    }
    for kind, value in values.items():
        assert layout.kind_of(value, older) == kind
        assert layout.kind_of(value, older - 1) == kind
        assert layout.kind_of(value, newer) == 0
    assert layout.kind_of(b"short", 0) == 0
    assert [layout.kind_of(bytes(12) + bytes([kind]), 0) for kind in (0, 1, 6, 8)] == [0] * 4
    with pytest.raises(OverflowError):
        layout.epoch_of(1, 1 << 16)
