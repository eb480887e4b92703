"""Values that no btree index holds: found by another one, and never said to be absent."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.fixtures.lists import ListService, content, refused, rows_of

LONG: dict[str, Any] = {
    "letters": "x" * 999,
    "line ends": "\n" * 504,
    "short tags": [f"tag {n}" for n in range(120)],
    "object": {f"n{n}": n for n in range(120)},
    "number": -int("9" * 1000),
}
# One has an index of its own, one has not.
NAMES = ["section", "other"]


def _found(lists: ListService, query: str) -> list[Any]:
    reply = lists.get(f"{query}&limit=100")
    assert reply.status == 200, reply.body
    return [item["data"] for item in content(reply)["items"]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_equality_finds_them(lists: ListService, name: str, value: Any) -> None:
    lists.fill(rows_of({name: value}, {name: "x"}, {}))
    reply = lists.search({"filter": {name: {"eq": value}}})
    assert [item["data"] for item in content(reply)["items"]] == [{name: value}]
    if not isinstance(value, list | dict):
        assert _found(lists, f"filter[{name}]={quote(json.dumps(value))}") == [{name: value}]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_what_only_filters_further_sees_them(lists: ListService, name: str, value: Any) -> None:
    lists.fill(rows_of({name: value, "rank": 1}, {name: "short", "rank": 1}, {"rank": 1}))
    long, short, none = ({name: value, "rank": 1}, {name: "short", "rank": 1}, {"rank": 1})
    for condition, wanted in [
        ("[exists]=true", [long, short]),
        ("[exists]=false", [none]),
        ("[ne]=short", [long]),
        ("[nin]=short,other", [long]),
    ]:
        assert _found(lists, f"filter[rank]=1&filter[{name}]{condition}") == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_part_of_them_is_found(lists: ListService, name: str) -> None:
    tags, text = LONG["short tags"], LONG["letters"] + "end"
    lists.fill(rows_of({name: tags, "rank": 1}, {name: text, "rank": 1}))
    for part, value in (("tag 7", tags), ("end", text)):
        found = _found(lists, f"filter[rank]=1&filter[{name}][contains]={quote(part)}")
        assert found == [{name: value, "rank": 1}]


@pytest.mark.parametrize("operator", ["in", "prefix"])
def test_what_only_an_index_answers_names_its_limit(lists: ListService, operator: str) -> None:
    reply = lists.get(f"filter[section][{operator}]={'x' * 999}")
    refused(reply, "invalid-parameter", parameter=f"filter[section][{operator}]")
    assert "1000 bytes" in content(reply)["errors"][0]["detail"]


def test_they_sort_with_what_has_no_value(lists: ListService) -> None:
    lists.fill(rows_of({"section": "x" * 999}, {"section": "b"}, {}, {"section": "a"}))
    order = [item.get("section", "")[:2] for item in _found(lists, "sort=section")]
    assert order == ["a", "b", "xx", ""]
