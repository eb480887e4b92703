"""One shard's result for a page, in one statement of one round trip.

A page is read by index scans, each in the index's order: one over the items that have the sort key,
one over those that lack it, because one scan with NULLS LAST would have to read the whole index
backwards. A scan that is not needed to fill the page is not started.
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
from service.model.query import CREATED_AT, ID, Extent, Path, Position, Query, Sort
from service.store.attributes import indexed
from service.store.conditions import Parameters, condition
from service.store.connection import Row
from service.store.list_reads import ListReads, Statement
from service.store.shards import Shard

_COLUMNS = sql.SQL("id, owner_id, version, created_at, updated_at")
_LIVING = sql.SQL("data IS NOT NULL AND collection = {}")

# Sizes are checked twice: as stored, which is cheap, so that a page of large items is not
# decompressed completely; then as text, because the text is sent and may be far larger.
_SELECT = sql.SQL(
    """
    SELECT {columns}, body, key, absent, found
      FROM (SELECT *, sum(octet_length(body)) OVER before - octet_length(body) AS text_before
              FROM (SELECT {columns}, data::text AS body, {key} AS key, absent, found
                      FROM (SELECT *, count(*) OVER () AS found,
                                   sum(pg_column_size(data)) OVER before - pg_column_size(data)
                                       AS stored_before
                              FROM (SELECT * FROM ({scans}) AS scans LIMIT {limit}) AS taken
                            WINDOW before AS (ROWS UNBOUNDED PRECEDING)) AS counted
                     WHERE stored_before < {max_bytes} OFFSET 0) AS texts
            WINDOW before AS (ROWS UNBOUNDED PRECEDING)) AS measured
     WHERE text_before < {max_bytes}"""
)
_SCAN = sql.SQL(
    "(SELECT {columns}, data, {absent} AS absent FROM items"
    " WHERE {conditions} ORDER BY {order} LIMIT {limit})"
)
_CURSOR_KEY = Statement(b"SELECT secret FROM cursor_key", {}, None)
_CURSOR_KEY_S = 5.0


@dataclass(frozen=True, slots=True)
class Scan:
    """One index scan, over the items that have the sort key or those that lack it.

    ``start`` is the position where it begins; None: at the end of the index.
    """

    absent: bool
    descending: bool
    start: Position | None


class ListedItem(NamedTuple):
    """An item with its sort key, as in Position."""

    item: Item
    key: str | None
    absent: bool


class _ListedRow(NamedTuple):
    """A row of ``page_statement``; ``found`` is the number of rows of the scans before sizes were
    checked.
    """

    id: UUID
    owner_id: str
    version: int
    created_at: datetime
    updated_at: datetime
    body: str
    key: str | None
    absent: bool
    found: int

    def listed(self, collection: int) -> ListedItem:
        times, body = (self.created_at, self.updated_at), self.body.encode()
        item = Item(self.id.bytes, self.owner_id, self.version, *times, body, collection)
        return ListedItem(item, self.key, self.absent)


class ShardPage(NamedTuple):
    """A shard's items in the order of the scans; ``cut`` if it has further ones."""

    items: list[ListedItem]
    cut: bool


def page_statement(
    query: Query, scans: Sequence[Scan], declared: frozenset[Path], limit: int, max_bytes: int
) -> Statement:
    """A statement for up to ``limit`` items, and not much more than ``max_bytes`` of data."""
    shapes = tuple(_Shape.of(scan) for scan in scans)
    values = _start_values(query.sort, scans)
    if not query.conditions:
        text = _unfiltered(query.sort, _bounds(query), shapes, limit, max_bytes)
        return Statement(text, _extent_values(query.extent) | values, None)
    parameters = Parameters()
    where = _where(query, declared, parameters)
    statement = _page_text(query.sort, shapes, where, limit, max_bytes)
    values |= _extent_values(query.extent)
    return Statement(statement, parameters.values | values, False)


def exact_count_statement(query: Query, declared: frozenset[Path]) -> Statement:
    """A statement that counts the matching items."""
    parameters = Parameters()
    where = _where(query, declared, parameters)
    statement = sql.SQL("SELECT count(*) FROM items WHERE {}").format(where)
    return _statement(statement, query, parameters)


def rough_count_statement(query: Query, declared: frozenset[Path]) -> Statement:
    """A statement for the planner's estimate, which reads no rows."""
    parameters = Parameters()
    where = _where(query, declared, parameters)
    statement = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM items WHERE {}").format(where)
    return _statement(statement, query, parameters)


def _statement(text: sql.Composed, query: Query, parameters: Parameters) -> Statement:
    values = parameters.values | _extent_values(query.extent)
    return Statement(text.as_bytes(None), values, False)


def shard_page(rows: Sequence[Row], collection: int) -> ShardPage:
    """The result of ``page_statement`` for this collection."""
    listed = [_ListedRow(*row) for row in rows]
    cut = bool(listed) and listed[0].found > len(listed)
    return ShardPage([row.listed(collection) for row in listed], cut)


def count_of(rows: Sequence[Row]) -> int:
    """The result of either count statement."""
    ((counted,),) = rows
    if isinstance(counted, int):
        return counted
    return int(orjson.loads(counted)[0]["Plan"]["Plan Rows"])


async def read_cursor_key(reads: ListReads, first_shard: Shard) -> bytes:
    """The secret of all cursors. Raises ShardUnavailable, DatabaseTimeout, Overloaded."""
    rows = await reads.rows(first_shard, _CURSOR_KEY, _CURSOR_KEY_S)
    if not rows:
        raise ShardUnavailable("The first shard has not been migrated.", retry_after_s=1)
    return bytes(rows[0][0])


class _Shape(NamedTuple):
    """The part of a scan in the statement's text; ``beyond`` is its comparison with the start."""

    absent: bool
    descending: bool
    beyond: str

    @classmethod
    def of(cls, scan: Scan) -> "_Shape":
        if scan.start is None:
            return cls(scan.absent, scan.descending, "")
        operator = "<" if scan.descending else ">"
        return cls(scan.absent, scan.descending, operator + "=" * scan.start.inclusive)


class _Bounds(NamedTuple):
    """What of a query's extent is in the statement's text. ``collection`` None is a parameter."""

    collection: int | None
    of_one_owner: bool
    has_ttl: bool

    @property
    def condition(self) -> sql.Composed:
        """True for the living items of the extent."""
        if self.collection is None:
            bounds = [_LIVING.format(sql.SQL("%(collection)s::smallint AND collection <> 0"))]
        else:
            bounds = [_LIVING.format(sql.Literal(self.collection))]
        if self.of_one_owner:
            bounds.append(sql.SQL("owner_id = %(extent_owner)s::text").format())
        if self.has_ttl:
            age = "make_interval(secs => %(ttl_s)s::double precision)"
            bounds.append(sql.SQL(f"updated_at > now() - {age}").format())
        return sql.SQL(" AND ").join(bounds)


def _bounds(query: Query) -> _Bounds:
    """All collections share the statements that general indexes answer, with any plan.

    Where an index of the collection's own is to be found, its number is written out.
    """
    extent = query.extent
    is_shared = extent.collection and not query.conditions and not query.sort.by_attribute
    collection = None if is_shared else extent.collection
    return _Bounds(collection, extent.owner_id is not None, extent.ttl_s is not None)


def _extent_values(extent: Extent) -> dict[str, Any]:
    values = {
        "collection": extent.collection or None,
        "extent_owner": extent.owner_id,
        "ttl_s": extent.ttl_s,
    }
    return {name: value for name, value in values.items() if value is not None}


@lru_cache(maxsize=1024)
def _unfiltered(
    sort: Sort, bounds: _Bounds, shapes: tuple[_Shape, ...], limit: int, max_bytes: int
) -> bytes:
    """Cached, because clients repeat these often and composing them is slow."""
    return _page_text(sort, shapes, bounds.condition, limit, max_bytes)


def _page_text(
    sort: Sort, shapes: Sequence[_Shape], where: sql.Composable, limit: int, max_bytes: int
) -> bytes:
    scans = [_scan(sort, shape, where, limit) for shape in shapes]
    return _SELECT.format(
        columns=_COLUMNS,
        scans=sql.SQL(" UNION ALL ").join(scans),
        key=_key_text(sort.path),
        limit=sql.Literal(limit),
        max_bytes=sql.Literal(max_bytes),
    ).as_bytes(None)


def _scan(sort: Sort, shape: _Shape, where: sql.Composable, limit: int) -> sql.Composed:
    conditions = [where]
    by = _key(sort.path)
    if sort.by_attribute:
        conditions.append(sql.SQL("{} IS NULL" if shape.absent else "{} IS NOT NULL").format(by))
    if shape.beyond:
        conditions.append(_beyond(sort, shape))
    way = sql.SQL(" DESC" if shape.descending else "")
    # The key is in ORDER BY even if absent, because the planner needs it to match the index's
    # order.
    keys = [by, sql.SQL("id")] if by is not None else [sql.SQL("id")]
    return _SCAN.format(
        columns=_COLUMNS,
        absent=sql.SQL("true" if shape.absent else "false"),
        conditions=sql.SQL(" AND ").join(conditions),
        order=sql.SQL(", ").join(key + way for key in keys),
        limit=sql.Literal(limit),
    )


def _where(query: Query, declared: frozenset[Path], parameters: Parameters) -> sql.Composed:
    conditions = [condition(one, declared, parameters) for one in query.conditions]
    return sql.SQL(" AND ").join([_bounds(query).condition, *conditions])


def _key(path: Path) -> sql.Composable | None:
    if path == ID:
        return None
    return sql.SQL("created_at") if path == CREATED_AT else indexed(path)


def _key_text(path: Path) -> sql.Composable:
    return (
        sql.SQL("NULL") if path in (ID, CREATED_AT) else sql.SQL("{}::text").format(indexed(path))
    )


def _beyond(sort: Sort, shape: _Shape) -> sql.Composed:
    operator = sql.SQL(shape.beyond)
    if shape.absent or sort.path == ID:
        return sql.SQL("id {} %(start_id)s::uuid").format(operator)
    kind = sql.SQL("timestamptz" if sort.path == CREATED_AT else "jsonb")
    return sql.SQL("({}, id) {} (%(start_key)s::{}, %(start_id)s::uuid)").format(
        _key(sort.path), operator, kind
    )


def _start_values(sort: Sort, scans: Sequence[Scan]) -> dict[str, Any]:
    """The values for ``_beyond``. Only the first scan begins at a position."""
    start = scans[0].start
    if start is None:
        return {}
    key: str | datetime | None = start.key
    if sort.path == CREATED_AT and start.key is not None:
        key = datetime.fromisoformat(start.key)
    return {"start_id": UUID(bytes=start.item_id), "start_key": key}
