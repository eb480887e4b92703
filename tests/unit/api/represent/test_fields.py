"""Cutting members out of jsonb's text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.represent.fields import chosen_fields, parameter_of, select, tag_suffix
from service.model.resource import ITEMS

DATA = '{"": 0, "a": 0.10, "b": [1, {"a": 2}], "é,": "}, \\"a\\": 1", "a\\"": {}}'


@pytest.mark.parametrize(
    ("names", "selected"),
    [
        ({"a"}, '{"a": 0.10}'),
        ({"b", "a"}, '{"a": 0.10, "b": [1, {"a": 2}]}'),
        ({""}, '{"": 0}'),
        ({"é,"}, '{"é,": "}, \\"a\\": 1"}'),
        ({'a"'}, '{"a\\"": {}}'),
        ({"A", "c", "b.a"}, "{}"),
        (set(), "{}"),
    ],
)
def test_selected_members_keep_every_byte(names: set[str], selected: str) -> None:
    assert select(DATA.encode(), frozenset(names)).decode() == selected


def test_numbers_are_never_parsed() -> None:
    for number in ("1" * 1000, "0." + "0" * 998 + "1", "-12345678901234567890.10"):
        data = f'{{"n": {number}}}'.encode()
        assert select(data, frozenset({"n"})) == data


def test_names_are_taken_as_they_are() -> None:
    assert chosen_fields({}) is None
    assert chosen_fields({"fields[items]": "a"}, parameter_of(2, ITEMS)) == frozenset({"a"})
    assert chosen_fields({"fields": ""}) == frozenset()
    assert chosen_fields({"fields": "a, b,,a"}) == frozenset({"a", " b"})


def test_a_choice_has_a_tag_of_its_own() -> None:
    suffixes = [tag_suffix(chosen_fields({"fields": f})) for f in ("", "a", "b", "a,b", "b,a,a")]
    assert len(set(suffixes)) == 4
    assert suffixes[3] == suffixes[4]
    assert tag_suffix(None) == ""


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
        st.recursive(
            st.integers() | st.text() | st.none() | st.booleans(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ),
    st.data(),
)
def test_selection_equals_that_of_a_dict(document: dict[str, object], data: st.DataObject) -> None:
    names = data.draw(st.frozensets(st.sampled_from([*document, "absent"])))
    text = json.dumps(document, ensure_ascii=False).encode()
    expected = {name: value for name, value in document.items() if name in names}
    assert json.loads(select(text, names)) == expected
