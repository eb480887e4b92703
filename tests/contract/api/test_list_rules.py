"""Which lists there are, and names and values that stay what they are."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from service.api.request import Reply
from tests.fixtures.lists import ODD_NAME, ListService, content, refused, rows_of


def _found(reply: Reply) -> list[Any]:
    assert reply.status == 200, reply.body
    return [item["data"] for item in content(reply)["items"]]


# Each name and each word is something that SQL, JSON paths, LIKE or regular
# expressions would read as more than itself.
WORDS = [
    "it's", "a.b", 'x") OR 1=1--', "$", "$.a", "*", "%", "_____", "50%", "a\\b", "S.A.R.L", "X (Y)",
    '"', "[", "]", "[0]", "a[b]", "';--", "%s", "%(p0)s", "{}", "{0}", "$1", ":x", "\\", "\\'",
    "--", "/*", "a]b", "][", "é", "\U0001f600", "\x7f", "\t", "0", "-1", "id", "owner_id", "data",
    "NULL",
]  # fmt: skip


def _name(name: str) -> str:
    return name.replace("\\", "\\\\").replace(".", "\\.")


@pytest.mark.parametrize("word", WORDS)
def test_names_are_only_names(lists: ListService, word: str) -> None:
    decoys = [{"a": {"b": 1}}, {"x": 1}, {"a": 1, "b": 1}, {"aXb": 1}, {word + "x": 1}, {"": 1}]
    lists.fill(rows_of({word: 1}, {word: 2}, *decoys))
    if word != "owner_id":
        filters = json.dumps({"filter": {_name(word): 1}}).encode()
        assert _found(lists.search(filters)) == [{word: 1}]
        if "][" not in word:
            assert _found(lists.get(f"filter[{quote(_name(word))}]=1")) == [{word: 1}]
    refused(lists.get(f"sort={quote(_name(word) + 'x')}"), "unindexed-query", parameter="sort")
    refused(
        lists.get(f"filter[{quote(_name(word) + 'x')}][gt]=1"),
        "unindexed-query",
        parameter=f"filter[{_name(word)}x][gt]",
    )


@pytest.mark.parametrize("word", WORDS)
def test_words_are_only_words(lists: ListService, word: str) -> None:
    near = ["50x", "505", "xxxxx", "a", "ab", "SxAxRxL", "X Y", "", "nothing", word + "more"]
    lists.fill(rows_of(*[{"section": text, "tag": text} for text in (word, f"<{word}>", *near)]))
    spelled = quote(json.dumps(word))
    texts = [word, f"<{word}>", *near]
    for query, wanted in [
        (f"filter[tag]={spelled}", [t for t in texts if t == word]),
        (f"filter[section]={spelled}", [t for t in texts if t == word]),
        (f"filter[section][prefix]={spelled}", [t for t in texts if t.startswith(word)]),
        (
            f"filter[section][prefix]=&filter[tag][contains]={spelled}",
            [t for t in texts if word in t],
        ),
        (f"filter[section][in]={spelled},nothing", [t for t in texts if t in (word, "nothing")]),
    ]:
        assert [found["tag"] for found in _found(lists.get(query + "&limit=100"))] == wanted


def test_a_declared_name_may_be_odd(lists: ListService) -> None:
    lists.fill(rows_of({ODD_NAME: 2}, {ODD_NAME: 1}, {ODD_NAME: 3}))
    name = quote(_name(ODD_NAME))
    found = _found(lists.get(f"sort=-{name}&filter[{name}][lt]=3"))
    assert [one[ODD_NAME] for one in found] == [2, 1]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("filter[]=1", "filter[]"),
        ("filter[a.]=1", "filter[a.]"),
        ("filter[.a]=1", "filter[.a]"),
        ("filter[a..b]=1", "filter[a..b]"),
        (f"filter[{'n' * 5000}]=1", f"filter[{'n' * 249}"),
        (f"filter[{'a.' * 70}a]=1", f"filter[{'a.' * 70}a]"),
        ("filter[a=1", "filter[a"),
        ("filter[a][near]=1", "filter[a][near]"),
        ("filter[a][]=1", "filter[a][]"),
        ("filter=1", "filter"),
        ("data.a=1", "data.a"),
        ("page[size]=1", "page[size]"),
        ("limit=1&limit=1", "limit"),
        ("filter[a]=1&filter[a]=2", "filter[a]"),
        ("filter[a]=%00", "filter[a]"),
        ("filter[a]=%C3%28", "filter[a]"),
        ("filter[a]=%ZZ", "filter[a]"),
        ("filter[%00]=1", "filter[%00]"),
        ('filter[a]="\\u0000"', "filter[a]"),
        ('filter[a]="\\ud800"', "filter[a]"),
        ("filter[a]=1e400000", "filter[a]"),
        ("filter[a]=1e131072", "filter[a]"),
        ("filter[rank][exists]=1", "filter[rank][exists]"),
        ("filter[created_at]=2024-02-30T00:00:00Z", "filter[created_at]"),
        ("filter[created_at][gt]=294277-01-01T00:00:00Z", "filter[created_at][gt]"),
        ("filter[created_at][gt]=infinity", "filter[created_at][gt]"),
        ("filter[created_at][gt]=2024-01-01T00:00:00+02:00", "filter[created_at][gt]"),
        ("filter[created_at][lt]=0001-01-01T00:00:00%2B02:00", "filter[created_at][lt]"),
        ("filter[created_at]=2147483648", "filter[created_at]"),
        ("filter[created_at][prefix]=2024", "filter[created_at][prefix]"),
        ("&".join(f"filter[a{n}]=1" for n in range(21)), "filter[a20]"),
        (f"filter[rank][in]={'1,' * 1000}1", "filter[rank][in]"),
    ],
    ids=lambda text: text[:40],
)
def test_a_malformed_list_is_refused(lists: ListService, query: str, parameter: str) -> None:
    refused(lists.get(query), "invalid-parameter", parameter=parameter)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("sort=tag", "sort"),
        ("sort=--rank", "sort"),
        ("sort=rank,section", "sort"),
        ("sort=owner_id", "sort"),
        ("filter[tag][gt]=1", "filter[tag][gt]"),
        ("filter[tag][in]=1", "filter[tag][in]"),
        ("filter[tag][prefix]=a", "filter[tag][prefix]"),
        ("filter[rank][ne]=1", "filter[rank][ne]"),
        ("filter[rank][nin]=1", "filter[rank][nin]"),
        ("filter[rank][exists]=true", "filter[rank][exists]"),
        ("filter[rank][contains]=a", "filter[rank][contains]"),
        ("sort=rank&filter[tag]=1", "filter[tag]"),
        ("sort=rank&filter[section]=1", "filter[section]"),
        ("sort=-created_at&filter[rank][gt]=1", "filter[rank][gt]"),
    ],
)
def test_a_list_without_an_index_is_refused(lists: ListService, query: str, parameter: str) -> None:
    reply = lists.get(query)
    refused(reply, "unindexed-query", parameter=parameter)
    assert "created_at, " in content(reply)["sort_keys"]
    assert "rank" in content(reply)["range_filters"]


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        (b"{", 400, "invalid-syntax", ""),
        (b"[]", 422, "invalid-content", ""),
        (b'{"page":1}', 422, "invalid-content", "/page"),
        (b'{"sort":1}', 422, "invalid-content", "/sort"),
        (b'{"sort":"a."}', 422, "invalid-content", "/sort"),
        (b'{"cursor":1}', 422, "invalid-content", "/cursor"),
        (b'{"fields":"a"}', 422, "invalid-content", "/fields"),
        (b'{"fields":[1]}', 422, "invalid-content", "/fields"),
        (b'{"filter":[]}', 422, "invalid-content", "/filter"),
        (b'{"filter":{"a":[1]}}', 422, "invalid-content", "/filter/a"),
        (b'{"filter":{"a":{}}}', 422, "invalid-content", "/filter/a"),
        (b'{"filter":{"a/b":{"x":1}}}', 422, "invalid-content", "/filter/a~1b/x"),
        (b'{"filter":{"":1}}', 422, "invalid-content", "/filter/"),
        (b'{"filter":{"rank":{"in":1}}}', 422, "invalid-content", "/filter/rank/in"),
        (b'{"filter":{"rank":{"gt":[1]}}}', 422, "invalid-content", "/filter/rank/gt"),
        (b'{"filter":{"rank":{"prefix":1}}}', 422, "invalid-content", "/filter/rank/prefix"),
        (b'{"filter":{"owner_id":1}}', 422, "invalid-content", "/filter/owner_id"),
        (b'{"filter":{"created_at":"never"}}', 422, "invalid-content", "/filter/created_at"),
        (b'{"filter":{"a":"\\u0000"}}', 422, "invalid-content", "/filter/a"),
        (b'{"filter":{"a":1e131072}}', 422, "invalid-content", "/filter/a"),
        (b'{"filter":{"tag":{"eq":[]}}}', 400, "unindexed-query", "/filter/tag/eq"),
        (b'{"filter":{"tag":{"gt":1}}}', 400, "unindexed-query", "/filter/tag/gt"),
        (b'{"sort":"tag"}', 400, "unindexed-query", "/sort"),
    ],
)
def test_a_malformed_search_is_refused(
    lists: ListService, body: bytes, status: int, code: str, pointer: str
) -> None:
    reply = lists.search(body)
    assert (reply.status, content(reply)["code"]) == (status, code)
    assert content(reply)["errors"][0]["pointer"] == pointer


def test_all_locations_are_reported(lists: ListService) -> None:
    reply = lists.get("limit=0&sort=a.&filter[a.]=1&filter[rank][near]=1&filter[b]=1")
    locations = [error["parameter"] for error in content(reply)["errors"]]
    assert locations == ["filter[a.]", "filter[rank][near]", "sort", "limit"]
    filters = {"a.": 1, "rank": {"near": 1, "gt": [1]}, "b": 1}
    reply = lists.search({"limit": 0, "sort": 1, "filter": filters})
    assert [error["pointer"] for error in content(reply)["errors"]] == [
        "/filter/a.",
        "/filter/rank/near",
        "/filter/rank/gt",
        "/sort",
        "/limit",
    ]
