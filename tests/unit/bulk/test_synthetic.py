"""The synthetic catalog: the same for the same seed, of the requested size, valid JSON."""

import statistics
from datetime import datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import native
from service.bulk.synthetic import CHUNK_ITEMS, KINDS, Catalog, Plan, SeedInvalid

EVERY_KIND = tuple((f"x_{kind}", kind) for kind in KINDS)


def _data(plan: Plan, chunks: int = 4) -> list[bytes]:
    catalog = Catalog(plan)
    return [data for n in range(chunks) for _, _, data in catalog.chunk(n * CHUNK_ITEMS)]


def test_the_same_seed_makes_the_same_items_in_any_order() -> None:
    plan = Plan(2 * CHUNK_ITEMS, 400, 3, EVERY_KIND)
    whole = [list(Catalog(plan).chunk(first)) for first in (0, CHUNK_ITEMS)]
    assert list(Catalog(plan).chunk(CHUNK_ITEMS)) == whole[1]
    assert list(Catalog(Plan(2 * CHUNK_ITEMS, 400, 4, EVERY_KIND)).chunk(0)) != whole[0]


def test_ids_grow_and_fit_a_ulid() -> None:
    ids = [item_id for item_id, _, _ in Catalog(Plan(CHUNK_ITEMS, 300)).chunk(0)]
    assert ids == sorted(set(ids))
    assert all(native.parse_id(native.format_id(item_id)) == item_id for item_id in ids)


@pytest.mark.parametrize("size", [300, 600, 2_000, 20_000])
def test_the_mean_size_is_as_requested(size: int) -> None:
    sizes = [len(data) for data in _data(Plan(4 * CHUNK_ITEMS, size))]
    assert 0.95 < statistics.mean(sizes) / size < 1.05
    assert max(sizes) < 1.5 * size


@given(st.integers(0, 2**64), st.integers(1, 750_000))
def test_every_item_is_clean(seed: int, size: int) -> None:
    for _, _, data in Catalog(Plan(3, size, seed, EVERY_KIND)).chunk(0):
        assert native.scan_value(data) == []


def test_declared_attributes_have_their_kind() -> None:
    for data in _data(Plan(CHUNK_ITEMS, 300, 0, EVERY_KIND), chunks=1):
        item = orjson.loads(data)
        assert type(item["x_int"]) is int
        assert type(item["x_number"]) is float
        assert type(item["x_bool"]) is bool
        assert item["x_word"].startswith("w")
        assert len(item["x_text"].split()) == 5
        assert len(item["x_tags"]) == 3
        assert datetime.fromisoformat(item["x_time"]).tzinfo is not None


@pytest.mark.parametrize(
    ("items", "size", "attributes"),
    [
        (0, 300, ()),
        (1, 0, ()),
        (1, 1 << 20, ()),
        (1, 300, (("a", "colour"),)),
        (1, 300, (("", "int"),)),
        (1, 300, (("name", "int"),)),
        (1, 300, (("a", "int"), ("a", "word"))),
        (1, 300, (("n" * 257, "int"),)),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    items: int, size: int, attributes: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(SeedInvalid):
        Plan(items, size, 0, attributes)
