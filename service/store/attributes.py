"""SQL expressions for attributes of an item's data, the same in indexes and lists."""

from collections.abc import Sequence
from functools import lru_cache

from psycopg import sql

from service.model.query import VALUE_MAX_BYTES, Path


@lru_cache(maxsize=1024)
def indexed(path: Path) -> sql.Composable:
    """The value of a declared attribute, with literal names, so that the planner finds the index.

    For statements with parameters, in which the driver unescapes ``%%``.
    """
    text = declared(tuple(name.replace("%", "%%") for name in path)).as_string(None)
    return sql.SQL(text)


def declared(path: Path) -> sql.Composed:
    """The same for statements without parameters."""
    return value_at([sql.SQL("{}::text").format(name) for name in path])


def value_at(names: Sequence[sql.Composable]) -> sql.Composed:
    """The jsonb under these names (expressions of type text); NULL where it is absent.

    A value that is too long for an index counts as absent there. ``->`` with text never indexes an
    array.
    """
    value = sql.SQL("(data -> {})").format(sql.SQL(" -> ").join(names))
    return sql.SQL("(CASE WHEN octet_length({0}::text) <= {1} THEN {0} END)").format(
        value, sql.SQL(str(VALUE_MAX_BYTES))
    )
