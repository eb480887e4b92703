"""One shard's share of a page, in one statement of one round trip.

A page is made of parts, each one scan of one index in its own order: the items that have the
sort key, and those that lack it. (Sorting them in one go, NULLS LAST, would read backwards
everything that there is.) A part that is not needed to fill the page is not begun.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from psycopg import sql

from service.model.errors import ShardUnavailable
from service.model.item import Item
from service.model.query import CREATED_AT, ID, Path, Position, Query, Sort
from service.store.attributes import indexed
from service.store.conditions import Parameters, condition
from service.store.list_reads import ListReads, Question
from service.store.nodes import Row
from service.store.shards import Shard

_COLUMNS = sql.SQL("id, owner_id, version, created_at, updated_at")
_LIVING = sql.SQL("data IS NOT NULL")

# Sizes are looked at twice: as stored, which costs nothing, so that not all of a page of large
# items is unpacked; then as text, which is what goes out and may be far larger.
_SELECT = sql.SQL(
    """
    SELECT {columns}, body, key, absent, found
      FROM (SELECT *, sum(octet_length(body)) OVER before - octet_length(body) AS text_before
              FROM (SELECT {columns}, data::text AS body, {key} AS key, absent, found
                      FROM (SELECT *, count(*) OVER () AS found,
                                   sum(pg_column_size(data)) OVER before - pg_column_size(data)
                                       AS stored_before
                              FROM (SELECT * FROM ({parts}) AS scans LIMIT {limit}) AS taken
                            WINDOW before AS (ROWS UNBOUNDED PRECEDING)) AS counted
                     WHERE stored_before < {max_bytes} OFFSET 0) AS texts
            WINDOW before AS (ROWS UNBOUNDED PRECEDING)) AS measured
     WHERE text_before < {max_bytes}"""
)
_PART = sql.SQL(
    "(SELECT {columns}, data, {absent} AS absent FROM items"
    " WHERE {conditions} ORDER BY {order} LIMIT {limit})"
)
_CURSOR_KEY = Question(b"SELECT secret FROM cursor_key", {}, None)
_CURSOR_KEY_S = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One scan: over the items that have the sort key or those that lack it, one way.

    ``start`` is where it begins; None for its end.
    """

    absent: bool
    descending: bool
    start: Position | None


class ListedItem(NamedTuple):
    """An item with the sort key it was found under, as in Position."""

    item: Item
    key: str | None
    absent: bool


class Share(NamedTuple):
    """A shard's items in the order of the parts; ``cut`` if it has more than it gave."""

    items: list[ListedItem]
    cut: bool


def page_question(
    query: Query, parts: Sequence[Part], declared: frozenset[Path], limit: int, max_bytes: int
) -> Question:
    """For up to ``limit`` items, and not many more than ``max_bytes`` of data."""
    scans = tuple(_Scan.of(part) for part in parts)
    values = _start_values(query.sort, parts)
    if not query.conditions:
        return Question(_unfiltered(query.sort, scans, limit, max_bytes), values, None)
    parameters = Parameters()
    where = _where(query, declared, parameters)
    statement = _page_statement(query.sort, scans, where, limit, max_bytes)
    return Question(statement, parameters.values | values, False)


def exact_count_question(query: Query, declared: frozenset[Path]) -> Question:
    """For how many items meet the conditions."""
    parameters = Parameters()
    where = _where(query, declared, parameters)
    statement = sql.SQL("SELECT count(*) FROM items WHERE {}").format(where)
    return _question(statement, parameters)


def rough_count_question(query: Query, declared: frozenset[Path]) -> Question:
    """For what the planner expects instead, which costs nothing."""
    parameters = Parameters()
    where = _where(query, declared, parameters)
    statement = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM items WHERE {}").format(where)
    return _question(statement, parameters)


def _question(statement: sql.Composed, parameters: Parameters) -> Question:
    return Question(statement.as_bytes(None), parameters.values, False)


def share_of(rows: Sequence[Row]) -> Share:
    """A shard's answer to ``page_question``."""
    return Share([_listed(row) for row in rows], bool(rows) and rows[0][8] > len(rows))


def count_of(rows: Sequence[Row]) -> int:
    """A shard's answer to either question of counts."""
    ((counted,),) = rows
    if isinstance(counted, int):
        return counted
    return int(orjson.loads(counted)[0]["Plan"]["Plan Rows"])


async def read_cursor_key(reads: ListReads, first_shard: Shard) -> bytes:
    """The secret of all cursors. Raises ShardUnavailable, DatabaseTimeout, Overloaded."""
    rows = await reads.answer(first_shard, _CURSOR_KEY, _CURSOR_KEY_S)
    if not rows:
        raise ShardUnavailable("The first shard has not been migrated.", retry_after_s=1)
    return bytes(rows[0][0])


class _Scan(NamedTuple):
    """What of a part is in the statement: ``beyond`` compares with the start, "" without one."""

    absent: bool
    descending: bool
    beyond: str

    @classmethod
    def of(cls, part: Part) -> "_Scan":
        if part.start is None:
            return cls(part.absent, part.descending, "")
        operator = "<" if part.descending else ">"
        return cls(part.absent, part.descending, operator + "=" * part.start.inclusive)


@lru_cache(maxsize=1024)
def _unfiltered(sort: Sort, scans: tuple[_Scan, ...], limit: int, max_bytes: int) -> bytes:
    """Statements that clients ask for all the time, and that are long to put together."""
    return _page_statement(sort, scans, _LIVING, limit, max_bytes)


def _page_statement(
    sort: Sort, scans: Sequence[_Scan], where: sql.Composable, limit: int, max_bytes: int
) -> bytes:
    parts = [_part(sort, scan, where, limit) for scan in scans]
    return _SELECT.format(
        columns=_COLUMNS,
        parts=sql.SQL(" UNION ALL ").join(parts),
        key=_key_text(sort.path),
        limit=sql.Literal(limit),
        max_bytes=sql.Literal(max_bytes),
    ).as_bytes(None)


def _part(sort: Sort, scan: _Scan, where: sql.Composable, limit: int) -> sql.Composed:
    conditions = [where]
    by = _key(sort.path)
    if sort.by_attribute:
        conditions.append(sql.SQL("{} IS NULL" if scan.absent else "{} IS NOT NULL").format(by))
    if scan.beyond:
        conditions.append(_beyond(sort, scan))
    way = sql.SQL(" DESC" if scan.descending else "")
    # Where the key is absent it is still named: only so does the planner see the index's order.
    keys = [by, sql.SQL("id")] if by is not None else [sql.SQL("id")]
    return _PART.format(
        columns=_COLUMNS,
        absent=sql.SQL("true" if scan.absent else "false"),
        conditions=sql.SQL(" AND ").join(conditions),
        order=sql.SQL(", ").join(key + way for key in keys),
        limit=sql.Literal(limit),
    )


def _where(query: Query, declared: frozenset[Path], parameters: Parameters) -> sql.Composed:
    conditions = [condition(one, declared, parameters) for one in query.conditions]
    return sql.SQL(" AND ").join([_LIVING, *conditions])


def _key(path: Path) -> sql.Composable | None:
    if path == ID:
        return None
    return sql.SQL("created_at") if path == CREATED_AT else indexed(path)


def _key_text(path: Path) -> sql.Composable:
    return (
        sql.SQL("NULL") if path in (ID, CREATED_AT) else sql.SQL("{}::text").format(indexed(path))
    )


def _beyond(sort: Sort, scan: _Scan) -> sql.Composed:
    operator = sql.SQL(scan.beyond)
    if scan.absent or sort.path == ID:
        return sql.SQL("id {} %(start_id)s::uuid").format(operator)
    kind = sql.SQL("timestamptz" if sort.path == CREATED_AT else "jsonb")
    return sql.SQL("({}, id) {} (%(start_key)s::{}, %(start_id)s::uuid)").format(
        _key(sort.path), operator, kind
    )


def _start_values(sort: Sort, parts: Sequence[Part]) -> dict[str, Any]:
    """What ``_beyond`` compares with. Only the first part begins elsewhere than at its end."""
    start = parts[0].start
    if start is None:
        return {}
    key: str | datetime | None = start.key
    if sort.path == CREATED_AT and start.key is not None:
        key = datetime.fromisoformat(start.key)
    return {"start_id": UUID(bytes=start.item_id), "start_key": key}


def _listed(row: Row) -> ListedItem:
    item = Item(row[0].bytes, row[1], row[2], row[3], row[4], row[5].encode())
    return ListedItem(item, row[6], row[7])
