"""Which lists are allowed: those that an index can answer.

A list sorted by id may be filtered by any index, because the matches are sorted afterwards. In any
other order only the index that gives the order, or the index of owners, can filter; with another
one a page would read the whole list. Operators that no index supports are residual filters: they
are allowed together with a filter that an index supports.
"""

from collections.abc import Iterable
from dataclasses import replace

from service.model.errors import Location, UnindexedQuery
from service.model.json_text import value_of
from service.model.query import (
    CREATED_AT,
    FIELDS,
    ID,
    INDEXED,
    OWNER_ID,
    RESIDUAL,
    Condition,
    Path,
    Query,
    Sort,
    format_path,
)


def check_allowed(query: Query, declared: frozenset[Path], sort_location: Location) -> None:
    """Raises UnindexedQuery, with the location of each refused filter, and what is allowed."""
    sortable = {ID, CREATED_AT} | declared
    if query.sort.path not in sortable:
        location = replace(sort_location, detail="is not a sort key; declare the attribute")
        raise _unindexed("No index supports this order.", [location], declared)
    refused = [
        replace(one.where, detail=reason)
        for one in query.conditions
        if one.operator in INDEXED and (reason := _why_not(one, query.sort, declared))
    ]
    if not refused and not any(one.operator in INDEXED for one in query.conditions):
        refused = [
            replace(one.where, detail="needs another filter that an index supports")
            for one in query.conditions
        ]
    if refused:
        raise _unindexed("No index supports this filter.", refused, declared)


def _why_not(one: Condition, sort: Sort, declared: frozenset[Path]) -> str | None:
    indexed = one.path in declared or one.path in FIELDS
    if one.operator != "eq" and not indexed:
        return "needs a declared attribute; others support only equality"
    if not indexed and not _has_scalar(value_of(str(one.values[0]).encode())):
        return "contains no scalar, so no index can find it; declare the attribute"
    if sort.path not in (ID, one.path) and one.path != OWNER_ID:
        return (
            f"cannot be combined with sort={format_path(sort.path)}; "
            "sort by id or by the filtered attribute"
        )
    return None


def _has_scalar(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_scalar(member) for member in value.values())
    if isinstance(value, list):
        return any(_has_scalar(element) for element in value)
    return True


def _unindexed(
    detail: str, locations: Iterable[Location], declared: frozenset[Path]
) -> UnindexedQuery:
    names = [format_path(path) for path in sorted(declared)]
    return UnindexedQuery(
        detail,
        *locations,
        extra={
            "sort_keys": ", ".join(["id", "created_at", *names]),
            "range_filters": ", ".join(["owner_id", "created_at", *names]),
            "always_allowed": "equality on any attribute, sorted by id",
            "beside_others_only": ", ".join(RESIDUAL),
        },
    )
