"""Lists over three shards, page by page, against what plain Python says they hold."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import native
from service.api.request import Reply
from service.model.json_order import sort_key
from tests.fixtures import list_strategies as strategies
from tests.fixtures.list_reference import Listing, allowed, compare, expected, json_text
from tests.fixtures.list_strategies import DECLARED, as_body, as_query, query_string
from tests.fixtures.lists import ListService, Row, content

# The databases are shared, and filled anew by each example.
steadily = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_LISTS_PER_FILLING = 6

Ask = Callable[[Listing, dict[str, object]], Reply]


@contextlib.contextmanager
def _told(listing: Listing, rows: list[Row]) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        error.add_note(f"{listing}\n{[(native.format_id(r.id), r) for r in rows]}")
        raise


def _walk(ask: Ask, listing: Listing, relation: str, start: str | None, limit: int) -> list[Any]:
    """All pages from a cursor on, in the order they came."""
    pages = []
    cursor = start
    for _ in range(100):
        sent: dict[str, object] = {"limit": limit}
        if cursor is not None:
            sent["cursor"] = cursor
        reply = ask(listing, sent)
        assert reply.status == 200, reply.body
        pages.append(content(reply))
        assert len(pages[-1]["items"]) <= limit
        cursor = pages[-1][f"{relation}_cursor"]
        if cursor is None:
            return pages
    raise AssertionError("the list does not end")


def _ids(pages: list[Any]) -> list[str]:
    return [item["id"] for page in pages for item in page["items"]]


def _check(ask: Ask, listing: Listing, rows: list[Row], limit: int) -> None:
    if not allowed(listing, DECLARED):
        refused = ask(listing, {})
        assert (refused.status, content(refused)["code"]) == (400, "unindexed-query")
        return
    wanted = [native.format_id(row_id) for row_id in expected(rows, listing)]
    forward = _walk(ask, listing, "next", None, limit)
    assert _ids(forward) == wanted
    assert forward[0]["prev_cursor"] is None
    assert all(len(page["items"]) == limit for page in forward[:-1])
    if len(forward) > 1:
        backward = _walk(ask, listing, "prev", forward[-1]["prev_cursor"], limit)
        backward.reverse()
        assert _ids(backward) + _ids(forward[-1:]) == wanted
        last = backward[-1]["next_cursor"]
        assert _ids(_walk(ask, listing, "next", last, 1000)) == _ids(forward[-1:])


@steadily
@given(st.data())
def test_any_list_equals_the_reference(lists: ListService, data: st.DataObject) -> None:
    rows = data.draw(strategies.rows())
    lists.fill(rows)

    def ask(listing: Listing, sent: dict[str, object]) -> Reply:
        return lists.get(query_string(as_query(listing), **sent))

    for _ in range(_LISTS_PER_FILLING):
        listing = data.draw(strategies.listings(by_body=False))
        with _told(listing, rows):
            _check(ask, listing, rows, data.draw(st.integers(1, 12)))


@steadily
@given(st.data())
def test_any_search_equals_the_reference(lists: ListService, data: st.DataObject) -> None:
    rows = data.draw(strategies.rows())
    lists.fill(rows)

    def ask(listing: Listing, sent: dict[str, object]) -> Reply:
        return lists.search(json_text(as_body(listing) | sent).encode())

    for _ in range(_LISTS_PER_FILLING):
        listing = data.draw(strategies.listings(by_body=True))
        with _told(listing, rows):
            _check(ask, listing, rows, data.draw(st.integers(1, 12)))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(strategies.values, max_size=12))
def test_values_sort_as_in_the_database(list_urls: list[str], values: list[Any]) -> None:
    texts = [json_text(value) for value in values]
    with psycopg.connect(list_urls[0]) as connection:
        rows = connection.execute(
            "SELECT n - 1, dense_rank() OVER (ORDER BY v::jsonb)"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS u (v, n)",
            (texts,),
        ).fetchall()
    rank: dict[int, int] = dict(rows)
    for a in range(len(values)):
        for b in range(len(values)):
            order = (rank[a] > rank[b]) - (rank[a] < rank[b])
            assert compare(values[a], values[b]) == order
            key_a, key_b = sort_key(texts[a]), sort_key(texts[b])
            assert (key_a > key_b) - (key_a < key_b) == order


@pytest.mark.parametrize("sort", ["id", "-created_at", "rank", "-rank"])
@steadily
@given(st.data())
def test_no_item_is_missed_or_repeated_while_others_come_and_go(
    lists: ListService, sort: str, data: st.DataObject
) -> None:
    rows = data.draw(strategies.rows())
    lists.fill(rows)
    living = {row.id for row in rows if row.data is not None}
    survivors = set(living)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(200):
        sent: list[tuple[str, object]] = [("sort", sort), ("limit", data.draw(st.integers(1, 4)))]
        reply = lists.get(urlencode(sent if cursor is None else [*sent, ("cursor", cursor)]))
        page = content(reply)
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        goes: bool = data.draw(st.booleans())
        if survivors and goes:
            gone = data.draw(st.sampled_from(sorted(survivors)))
            survivors.discard(gone)
            lists.delete(gone)
        lists.add(data.draw(strategies.rows(max_size=1)))
    assert cursor is None
    assert len(seen) == len(set(seen))
    assert {native.format_id(row_id) for row_id in survivors} <= set(seen)
