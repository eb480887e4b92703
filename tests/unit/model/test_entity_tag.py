from datetime import UTC, datetime, timedelta

import pytest

from service.cache.layout import ItemEntry, encode_item
from service.model.entity_tag import entity_tag, parse_tag_condition
from service.model.item import Item
from service.model.item_json import render

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ITEM = Item(bytes(16), "alice", 3, NOW, NOW, b'{"a": 1}')
TAG = entity_tag(ITEM)
BASE = TAG.strip('"')


@pytest.mark.parametrize("suffix", ["", ".v2", "-br", "-gzip", "-zstd", ".v2-br"])
def test_every_form_of_the_current_version_matches(suffix: str) -> None:
    condition = parse_tag_condition(f'"{BASE}{suffix}"')
    assert condition.matches_strongly(ITEM)
    assert condition.matches_weakly(ITEM)


def test_no_tag_of_an_earlier_item_matches() -> None:
    """Once a tombstone is gone, the next item under the id may have its data and version again."""
    later = ITEM._replace(created_at=NOW + timedelta(microseconds=1))
    assert not parse_tag_condition(TAG).matches_strongly(later)
    assert not parse_tag_condition(TAG).matches_weakly(later)
    body = render(later)
    kept = ItemEntry(encode_item(1, later, body, len(body) - len(ITEM.data or b"") - 1, 0))
    assert kept.tag == later.tag != ITEM.tag
    assert later._replace(updated_at=NOW + timedelta(days=1)).tag == later.tag


def test_a_weak_tag_matches_only_weakly() -> None:
    condition = parse_tag_condition(f"W/{TAG}")
    assert not condition.matches_strongly(ITEM)
    assert condition.matches_weakly(ITEM)


@pytest.mark.parametrize(
    "value", ['"3-00000000"', f'"4{BASE[1:]}"', '"old"', '""', f'"{BASE}-lzma"', f'"0{BASE}"']
)
def test_other_tags_are_valid_and_match_nothing(value: str) -> None:
    condition = parse_tag_condition(value)
    assert not condition.matches_strongly(ITEM)
    assert not condition.matches_weakly(ITEM)


@pytest.mark.parametrize("value", [f'"old", {TAG}', f'{TAG} ,"old"', f",, {TAG},", f'"a,b", {TAG}'])
def test_one_match_in_a_list_is_enough(value: str) -> None:
    assert parse_tag_condition(value).matches_strongly(ITEM)


def test_a_star_matches_any_existing_item() -> None:
    condition = parse_tag_condition(" * ")
    assert condition.matches_strongly(ITEM)
    assert not condition.matches_strongly(None)


@pytest.mark.parametrize(
    "value",
    ["", " ", ",", "abc", BASE, "W/abc", 'w/"x"', '"a', '"a" "b"', '*, "a"', '"a"x', '"\t"'],
)
def test_malformed_lists_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"tags|empty"):
        parse_tag_condition(value)


def test_the_tag_changes_with_the_version_and_the_content() -> None:
    newer = Item(bytes(16), "alice", 4, NOW, NOW, b'{"a": 1}')
    other = Item(bytes(16), "alice", 3, NOW, NOW, b'{"a": 2}')
    assert len({entity_tag(ITEM), entity_tag(newer), entity_tag(other)}) == 3
