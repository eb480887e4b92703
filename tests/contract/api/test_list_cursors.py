"""Walks through lists, cursors and limits, as clients and those who play with them send them."""

import base64
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.fixtures.lists import ListService, content, refused, rows_of


@pytest.fixture
def ranked(lists: ListService) -> ListService:
    """250 items, the rank of which is a number in 100, null in 75 and absent in 75."""
    ranks = [{"rank": n % 40} for n in range(100)] + [{"rank": None}] * 75 + [{}] * 75
    lists.fill(rows_of(*ranks[::3], *ranks[1::3], *ranks[2::3]))
    return lists


@pytest.mark.parametrize("limit", [10, 100])
@pytest.mark.parametrize("sort", ["rank", "-rank"])
def test_a_walk_shows_everything_once(ranked: ListService, sort: str, limit: int) -> None:
    seen: list[Any] = []
    cursor = None
    for _ in range(30):
        sent = {"sort": sort, "limit": limit} | ({} if cursor is None else {"cursor": cursor})
        page = content(ranked.get(urlencode(sent)))
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len({item["id"] for item in seen}) == 250
    ranks = [item["data"].get("rank", "absent") for item in seen]
    assert ranks[175:] == ["absent"] * 75
    numbers = sorted(n % 40 for n in range(100))
    nulls: list[Any] = [None] * 75
    assert ranks[:175] == (nulls + numbers if sort == "rank" else numbers[::-1] + nulls)


def _cursor(lists: ListService, sent: str = "limit=10", subject: str = "alice") -> str:
    cursor: str = content(lists.get(sent, subject))["next_cursor"]
    return cursor


def _flipped(cursor: str, position: int) -> str:
    other = "B" if cursor[position] == "A" else "A"
    return cursor[:position] + other + cursor[position + 1 :]


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


FORGED = [
    "",
    "x",
    "é",
    "=",
    *map(_base64, (b"[]", b"null", b"{}", b"\0" * 16, b"\0" * 17, b"\0" * 33)),
    _base64(b'{"created_at":"never","id":7}'),
    _base64(b"1e400"),
    _base64(b'"\\u0000"'),
    _base64(b"[" * 2000),
    "A" * 60_000,
]


@pytest.mark.parametrize("cursor", FORGED, ids=lambda c: c[:12])
def test_a_cursor_that_was_not_made_here_isrefused(ranked: ListService, cursor: str) -> None:
    refused(ranked.get(urlencode({"cursor": cursor})), "invalid-cursor", parameter="cursor")
    body = {"cursor": cursor}
    refused(ranked.search(body), "invalid-cursor", pointer="/cursor")


def test_a_changed_cursor_isrefused(ranked: ListService) -> None:
    good = _cursor(ranked)
    changed = [_flipped(good, n) for n in range(len(good))]
    changed += [good[:n] for n in range(len(good))]
    changed += [good + more for more in ("!", "A", "=", "==", "\n", " ")]
    for cursor in changed:
        sent = urlencode({"limit": 10, "cursor": cursor})
        refused(ranked.get(sent), "invalid-cursor", parameter="cursor")
    assert ranked.get(urlencode({"cursor": good})).status == 200


def test_a_cursor_belongs_to_its_list_and_its_caller(ranked: ListService) -> None:
    good = _cursor(ranked, "sort=rank&filter[rank][gte]=1&limit=5")
    same = "filter[rank][gte]=1&sort=rank&limit=7&fields=rank&cursor="
    assert ranked.get(same + good).status == 200
    for other in (
        "",
        "sort=rank&",
        "filter[rank][gte]=1&",
        "sort=-rank&filter[rank][gte]=1&",
        "sort=rank&filter[rank][gte]=2&",
        "sort=rank&filter[rank][gt]=1&",
        'sort=rank&filter[rank][gte]="1"&',
        "sort=rank&filter[rank][gte]=1&filter[rank][ne]=3&",
    ):
        refused(ranked.get(f"{other}cursor={good}"), "invalid-cursor", parameter="cursor")
    refused(ranked.get(same + good, "bob"), "invalid-cursor", parameter="cursor")


def test_a_cursor_works_after_its_item_was_deleted(lists: ListService) -> None:
    rows = rows_of(*[{"rank": n} for n in range(6)])
    lists.fill(rows)
    page = content(lists.get("sort=rank&limit=3"))
    for row in rows[:3]:
        lists.delete(row.id)
    sent = "sort=rank&limit=3&cursor="
    rest = content(lists.get(sent + page["next_cursor"]))
    assert [item["data"]["rank"] for item in rest["items"]] == [3, 4, 5]
    before = content(lists.get(sent + rest["prev_cursor"]))
    assert (before["items"], before["prev_cursor"]) == ([], None)
    again = content(lists.get(sent + before["next_cursor"]))
    assert again["items"] == rest["items"]


@pytest.mark.parametrize(
    "limit",
    [
        "",
        "0",
        "-1",
        "1001",
        "9" * 20,
        "1.5",
        "1e3",
        "1_0",
        "%2B5",
        "%EF%BC%95",
        "%205",
        "a",
        "5%20",
    ],
)
def test_a_limit_is_plain_digits(ranked: ListService, limit: str) -> None:
    refused(ranked.get(f"limit={limit}"), "invalid-parameter", parameter="limit")


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.5, "5", None, True, [5]])
def test_a_limit_is_a_number_in_a_search(ranked: ListService, limit: object) -> None:
    reply = ranked.search({"limit": limit})
    assert (reply.status, content(reply)["errors"][0]["pointer"]) == (422, "/limit")


@pytest.mark.parametrize("limit", [1, 25, 50, 250, 1000])
def test_the_last_page_is_full_and_leads_nowhere(ranked: ListService, limit: int) -> None:
    cursor: str | None = ""
    sizes: list[int] = []
    while cursor is not None:
        assert len(sizes) <= 250
        page = content(ranked.get(f"limit={limit}" + (f"&cursor={cursor}" if cursor else "")))
        sizes.append(len(page["items"]))
        cursor = page["next_cursor"]
    assert sizes == [min(limit, 250)] * max(1, 250 // limit)
    assert len(content(ranked.get(""))["items"]) == 20
