"""Filters as SQL: every name and value of a request is a parameter.

A filter is narrower than the PostgreSQL operator that an index supports: containment (``@>``) is
narrowed to equality, and comparisons of jsonb, which order all types, to values of one type.
"""

from typing import Any

import orjson
from psycopg import sql

from service.model.query import (
    CREATED_AT,
    FIELDS,
    RESIDUAL,
    Condition,
    Path,
    Value,
    may_be_too_long,
)
from service.store.attributes import indexed

_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

# A lower bound of all numbers that can be stored, above every text.
_BELOW_NUMBERS = "-1e1001"
_LAST_CHARACTER = "\U0010ffff"


class Parameters:
    """The values of one statement, by the names of their placeholders."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, value: Any, kind: str) -> sql.Composed:
        """A placeholder for a value of an SQL type."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return sql.SQL("{}::{}").format(sql.Placeholder(name), sql.SQL(kind))


def condition(one: Condition, declared: frozenset[Path], parameters: Parameters) -> sql.Composed:
    """The SQL expression that is true for the items that match the condition."""
    if one.path in FIELDS:
        return _on_field(one, parameters)
    is_declared = one.path in declared
    if one.operator == "eq" and (not is_declared or may_be_too_long(one.values[0])):
        return _by_containment(one, parameters)
    # No index answers a residual filter, so none has to hold its value, however long it is.
    by_index = is_declared and one.operator not in RESIDUAL
    by = indexed(one.path) if by_index else _looked_up(one.path, parameters)
    return _on_value(one, by, parameters)


def _looked_up(path: Path, parameters: Parameters) -> sql.Composed:
    names = (parameters.add(name, "text") for name in path)
    return sql.SQL("(data -> {})").format(sql.SQL(" -> ").join(names))


def _by_containment(one: Condition, parameters: Parameters) -> sql.Composed:
    """By the GIN index, which finds what contains the value: an equal scalar, for a scalar.

    It holds hashes, so that values may have any length.
    """
    (value,) = one.values
    document = str(value)
    for name in reversed(one.path):
        document = f"{{{orjson.dumps(name).decode()}: {document}}}"
    contains = sql.SQL("data @> {}").format(parameters.add(document, "jsonb"))
    if not _is(value, "[{"):
        return contains
    same = sql.SQL("{} = {}").format(
        _looked_up(one.path, parameters), parameters.add(value, "jsonb")
    )
    return sql.SQL("({} AND {})").format(contains, same)


def _on_field(one: Condition, parameters: Parameters) -> sql.Composed:
    kind, column = ("timestamptz", "created_at") if one.path == CREATED_AT else ("text", "owner_id")
    by = sql.SQL(column)
    value = one.values[0] if one.values else None
    match one.operator:
        case "exists":
            return sql.SQL("{}").format(parameters.add(value == "true", "boolean"))
        case "contains":
            return sql.SQL("strpos({}, {}) > 0").format(by, parameters.add(value, "text"))
        case "prefix":
            bounds = [sql.SQL("{} >= {}").format(by, parameters.add(value, "text"))]
            following = _following(str(value))
            if following is not None:
                bounds.append(sql.SQL("{} < {}").format(by, parameters.add(following, "text")))
            return sql.SQL("({})").format(sql.SQL(" AND ").join(bounds))
        case "gt" | "gte" | "lt" | "lte":
            comparison = sql.SQL(_COMPARISONS[one.operator])
            return sql.SQL("{} {} {}").format(by, comparison, parameters.add(value, kind))
    return _equalities(one, by, kind, parameters)


def _on_value(one: Condition, by: sql.Composable, parameters: Parameters) -> sql.Composed:
    value = one.values[0] if one.values else ""
    match one.operator:
        case "exists":
            return sql.SQL("{} IS NOT NULL" if value == "true" else "{} IS NULL").format(by)
        case "contains":
            return _contains(str(value), by, parameters)
        case "prefix":
            text = orjson.loads(str(value))
            following = _following(text)
            end = _BELOW_NUMBERS if following is None else orjson.dumps(following).decode()
            return _between(by, ">=", str(value), "<", end, parameters)
        case "gt" | "gte" | "lt" | "lte":
            return _range(one.operator, str(value), by, parameters)
    return _equalities(one, by, "jsonb", parameters)


def _equalities(
    one: Condition, by: sql.Composable, kind: str, parameters: Parameters
) -> sql.Composed:
    if one.operator in ("in", "nin"):
        listed = list(one.values)
        # Sent as text, because the driver has no type for an array of jsonb.
        values = parameters.add(listed, f"text[]::{kind}[]" if kind == "jsonb" else f"{kind}[]")
        shape = "{} = ANY({})" if one.operator == "in" else "({0} IS NOT NULL AND {0} <> ALL({1}))"
        return sql.SQL(shape).format(by, values)
    if one.operator == "eq":
        comparison = sql.SQL("=")
    elif one.operator == "ne":
        comparison = sql.SQL("<>")
    else:
        raise ValueError(f"there is no SQL for the operator {one.operator!r}")
    return sql.SQL("{} {} {}").format(by, comparison, parameters.add(one.values[0], kind))


def _contains(value: str, by: sql.Composable, parameters: Parameters) -> sql.Composed:
    """A substring of a text, or an element of an array."""
    element = parameters.add(f"[{value}]", "jsonb")
    found = sql.SQL("jsonb_typeof({0}) = 'array' AND {0} @> {1}").format(by, element)
    if _is(value, '"'):
        part = parameters.add(orjson.loads(value), "text")
        within = sql.SQL("jsonb_typeof({0}) = 'string' AND strpos({0} #>> '{{}}', {1}) > 0")
        found = sql.SQL("{} OR {}").format(found, within.format(by, part))
    return sql.SQL("({})").format(found)


def _range(operator: str, value: str, by: sql.Composable, parameters: Parameters) -> sql.Composed:
    """Values of the same type that are less or greater."""
    upwards = operator in ("gt", "gte")
    comparison = _COMPARISONS[operator]
    if _is(value, "n"):
        # Because there is only one null, none is less or greater.
        shape = "{} = {}" if comparison.endswith("=") else "false"
        return sql.SQL(shape).format(by, parameters.add(value, "jsonb"))
    if _is(value, '"'):
        first, (end, last) = '""', ("<", _BELOW_NUMBERS)
    elif _is(value, "tf"):
        first, (end, last) = "false", ("<=", "true")
    else:
        first, (end, last) = _BELOW_NUMBERS, ("<", "false")
    if upwards:
        return _between(by, comparison, value, end, last, parameters)
    return _between(by, ">=", first, comparison, value, parameters)


def _between(
    by: sql.Composable, above: str, low: str, below: str, high: str, parameters: Parameters
) -> sql.Composed:
    return sql.SQL("({0} {1} {2} AND {0} {3} {4})").format(
        by,
        sql.SQL(above),
        parameters.add(low, "jsonb"),
        sql.SQL(below),
        parameters.add(high, "jsonb"),
    )


def _following(prefix: str) -> str | None:
    """The smallest text greater than all texts with this prefix; None if there is none."""
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return None
    last = ord(kept[-1]) + 1
    # Skipped, because U+D800 to U+DFFF are surrogates, not characters.
    return kept[:-1] + chr(0xE000 if last == 0xD800 else last)


def _is(value: Value, first: str) -> bool:
    """Whether a JSON text begins with one of these characters, which determine its type."""
    return str(value)[0] in first
