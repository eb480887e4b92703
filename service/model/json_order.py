"""The order in which PostgreSQL sorts jsonb, for values that come from several databases.

By type first: null, text, numbers, booleans, arrays, objects; text by code point; arrays by
length, then element by element; objects by their number of members, then member by member,
shorter names first. An empty array stands before everything, but only as the whole value.
"""

import json
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

SortKey: TypeAlias = tuple[Any, ...]

_EMPTY_ARRAY, _NULL, _TEXT, _NUMBER, _BOOLEAN, _ARRAY, _OBJECT = range(7)

_load = partial(json.loads, parse_float=Decimal, parse_int=Decimal)


def sort_key(text: str) -> SortKey:
    """A key that compares like the jsonb value of this text."""
    value = _load(text)
    return (_EMPTY_ARRAY,) if value == [] else _key(value)


def _key(value: Any) -> SortKey:
    match value:
        case None:
            return (_NULL,)
        case str():
            return (_TEXT, value)
        case bool():
            return (_BOOLEAN, value)
        case Decimal():
            return (_NUMBER, value)
        case list():
            return (_ARRAY, len(value), *map(_key, value))
    # jsonb stores and compares members in this order.
    names = sorted(value, key=lambda name: (len(name.encode()), name))
    return (_OBJECT, len(value), *((name, _key(value[name])) for name in names))
