"""Pages of a list over all shards.

Every shard is queried concurrently for as many items as the whole page may have; the results are
merged by sort key and id, and the page ends where it is full. A page is found by its position alone
(keyset pagination): it costs the same anywhere in the list, and items that are created or deleted
elsewhere do not shift it.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from service.flow.bulkhead import Bulkhead
from service.flow.deadline import within
from service.flow.retry import retried
from service.model.errors import DatabaseTimeout, QueryTooExpensive
from service.model.item import Item
from service.model.json_order import sort_key
from service.model.query import CREATED_AT, Path, Position, Query, Sort
from service.store.connection import Row
from service.store.list_reads import ListReads, Statement
from service.store.lists import (
    ListedItem,
    Scan,
    ShardPage,
    count_of,
    exact_count_statement,
    page_statement,
    rough_count_statement,
    shard_page,
)
from service.store.shards import Shard, Shards

T = TypeVar("T")

PAGE_MAX_BYTES = 4 << 20

# A caller's waiting lists per running one.
_WAITING_A_TURN = 50

# Added to our deadline, because the server's statement timeout must come first: it means that the
# list is too expensive, not that the server hangs.
_GRACE_S = 0.25


@dataclass(frozen=True, slots=True)
class Page:
    """Items in the order of the list, and the positions before and after them.

    A position is None where the list is known to end. ``early``: the page has fewer items than its
    limit, because of their size.
    """

    items: list[Item]
    previous: Position | None
    next: Position | None
    early: bool = False


class Pages:
    """Reads lists.

    One caller has at most ``per_caller`` lists running; further ones wait.
    """

    def __init__(
        self,
        shards: Shards,
        reads: ListReads,
        timeout_s: float,
        per_caller: int,
    ) -> None:
        self._shards = shards
        self._reads = reads
        self._timeout_s = timeout_s
        self._turns = Bulkhead("lists of yours", per_caller, per_caller * _WAITING_A_TURN)

    def turn(self, caller: str) -> AbstractAsyncContextManager[None]:
        """A context in which to read and count one list for a caller.

        Entering it raises Overloaded if too many of the caller's lists wait, or this one waits too
        long.
        """
        return self._turns.entered(caller, self._timeout_s)

    async def read(
        self, query: Query, declared: frozenset[Path], position: Position | None, limit: int
    ) -> Page:
        """Up to ``limit`` items from the position on, or from the beginning.

        ``declared`` are the attributes that have an index.

        The page also ends with the item that makes its data 4 MiB or more. Raises
        QueryTooExpensive, DatabaseTimeout, ShardUnavailable and Overloaded.
        """
        scans = traversal(query.sort, position)
        # One item more than requested shows whether there is a next page.
        statement = page_statement(query, scans, declared, limit + 1, PAGE_MAX_BYTES)
        of = query.extent.collection
        pages = [shard_page(rows, of) for rows in await self._from_all(statement)]
        found, more = cut(pages, query.sort, scans, limit)
        early = more and len(found) < limit
        return replace(_page(found, more, query.sort, position), early=early)

    async def count(self, query: Query, declared: frozenset[Path], *, exactly: bool) -> int | None:
        """How many items the whole list has; None if counting exceeds the timeout.

        If not ``exactly``, the planner's estimate. Items of one owner are always counted, because
        the estimate would disclose something of the others'. Raises as ``read`` does.
        """
        exactly |= query.extent.owner_id is not None
        make = exact_count_statement if exactly else rough_count_statement
        statement = make(query, declared)
        try:
            results = await self._from_all(statement)
        except QueryTooExpensive:
            return None
        return sum(map(count_of, results))

    async def _from_all(self, statement: Statement) -> list[list[Row]]:
        clock = asyncio.get_running_loop().time
        until_s = clock() + self._timeout_s

        def read(shard: Shard) -> Awaitable[list[Row]]:
            return self._reads.rows(shard, statement, until_s - clock())

        reading = [retried(partial(read, shard), until_s) for shard in self._shards.all]
        try:
            return await within(self._timeout_s + _GRACE_S, _together(reading))
        except TimeoutError:
            raise DatabaseTimeout from None
        except DatabaseTimeout:
            raise QueryTooExpensive from None


async def _together(reading: Sequence[Awaitable[T]]) -> list[T]:
    """All results, or the first failure, which cancels the others."""
    tasks = [asyncio.ensure_future(one) for one in reading]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def traversal(sort: Sort, position: Position | None) -> list[Scan]:
    """The scans from a position to the end of the list, in order."""
    backwards = position is not None and position.backwards
    way = sort.descending != backwards
    halves = [False, True] if sort.by_attribute else [False]
    if backwards:
        halves.reverse()
    if position is None:
        return [Scan(absent, way, None) for absent in halves]
    here = sort.by_attribute and position.key is None
    return [
        Scan(absent, way, position if absent == here else None)
        for absent in halves[halves.index(here) :]
    ]


def cut(
    pages: Sequence[ShardPage], sort: Sort, scans: Sequence[Scan], limit: int
) -> tuple[list[ListedItem], bool]:
    """The items of the page in the order of the scans, and whether more follow."""
    # The page must end here, because further items of such a shard may follow its last one.
    frontier = {one.items[-1].item.id for one in pages if one.cut}
    page: list[ListedItem] = []
    size = 0
    total = sum(len(one.items) for one in pages)
    for listed in _merged(pages, sort, scans):
        page.append(listed)
        size += len(listed.item.data or b"")
        if len(page) == limit or size >= PAGE_MAX_BYTES or listed.item.id in frontier:
            break
    return page, len(page) < total or bool(frontier)


def _merged(pages: Sequence[ShardPage], sort: Sort, scans: Sequence[Scan]) -> Iterator[ListedItem]:
    for scan in scans:
        found = [one for page in pages for one in page.items if one.absent == scan.absent]
        # Linear, because each shard's items are already sorted (Timsort merges runs).
        yield from sorted(found, key=partial(_order, sort), reverse=scan.descending)


def _order(sort: Sort, listed: ListedItem) -> tuple[Any, ...]:
    if sort.path == CREATED_AT:
        return listed.item.created_at, listed.item.id
    if listed.key is None:
        return ((), listed.item.id)
    return sort_key(listed.key), listed.item.id


def _page(found: list[ListedItem], more: bool, sort: Sort, position: Position | None) -> Page:
    backwards = position is not None and position.backwards
    if not found:
        # The item at the position and all after it have been deleted.
        turned = None
        if position is not None:
            turned = Position(position.key, position.item_id, not backwards, inclusive=True)
        return Page([], *((None, turned) if backwards else (turned, None)))
    if backwards:
        found.reverse()
    first, last = _position(found[0], sort, True), _position(found[-1], sort, False)
    items = [listed.item for listed in found]
    if backwards:
        return Page(items, first if more else None, last)
    return Page(items, None if position is None else first, last if more else None)


def _position(listed: ListedItem, sort: Sort, backwards: bool) -> Position:
    key = listed.key
    if sort.path == CREATED_AT:
        key = listed.item.created_at.isoformat()
    return Position(key, listed.item.id, backwards)
