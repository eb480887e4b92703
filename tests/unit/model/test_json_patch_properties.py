"""Generated patches, against a second reading of the RFCs that shares no code with the first.

The reference works on values in which a number is a Decimal and a bool is a word of its own, and
builds a new document in each step instead of changing one.
"""

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model.errors import PatchConflict, PatchResultInvalid, PatchTestFailed
from tests.fixtures.patches import apply_json_patch, apply_merge_patch

NAMES = st.sampled_from(["", "a", "b", "0", "1", "-", "01", "a/b", "m~n", "~1", "é"])
NUMBERS = st.sampled_from(["0", "-0", "1", "1.0", "10e-1", "100", "1e2", "1e400", "0.10", "9" * 30])


class Raw(str):
    """JSON text that stands for itself."""


SCALARS = NUMBERS.map(Raw) | st.sampled_from([None, True, False, "", "a", "1", "é", "e\u0301"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def _text(value: Any) -> str:
    """Names sorted, since their order means nothing."""
    match value:
        case Raw():
            return str(value)
        case list():
            return f"[{','.join(map(_text, value))}]"
        case dict():
            return (
                "{"
                + ",".join(f"{json.dumps(k)}:{_text(v)}" for k, v in sorted(value.items()))
                + "}"
            )
    return json.dumps(value)


EQUALS = {"0": "-0", "-0": "0.0", "1": "1.0", "1.0": "10e-1", "100": "1e2", "0.10": "1e-1"}


def _respelled(value: Any) -> Any:
    """The same value, its numbers written otherwise."""
    match value:
        case Raw():
            return Raw(EQUALS.get(value, value))
        case list():
            return [_respelled(element) for element in value]
        case dict():
            return {name: _respelled(member) for name, member in value.items()}
    return value


def _seen(value: Any) -> Any:
    """The value in a form that Python compares as RFC 6902 section 4.6 does."""
    match value:
        case Raw():
            return ("number", Decimal(value))
        case list():
            return [_seen(element) for element in value]
        case dict():
            return {name: _seen(member) for name, member in value.items()}
        case str():
            return ("text", value)
    return ("literal", repr(value))


def _number(token: str) -> Raw:
    """In one spelling for each value and number of digits behind the point."""
    return Raw("0" if token == "-0" else Decimal(token))


def _read(text: bytes) -> Any:
    return json.loads(text, parse_int=_number, parse_float=_number)


# RFC 6901 and RFC 6902, read a second time


class _Nowhere(Exception):
    pass


def _tokens(pointer: str) -> list[str]:
    return [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]


def _index(token: str, past: int) -> int:
    if not token.isascii() or not token.isdigit() or str(int(token)) != token or int(token) >= past:
        raise _Nowhere
    return int(token)


def _get(node: Any, tokens: list[str]) -> Any:
    if not tokens:
        return node
    if isinstance(node, dict) and tokens[0] in node:
        return _get(node[tokens[0]], tokens[1:])
    if isinstance(node, list):
        return _get(node[_index(tokens[0], len(node))], tokens[1:])
    raise _Nowhere


def _without(node: Any, tokens: list[str]) -> Any:
    _get(node, tokens)
    if not tokens:
        raise _Nowhere
    first, rest = tokens[0], tokens[1:]
    if isinstance(node, dict):
        if rest:
            return node | {first: _without(node[first], rest)}
        return {name: member for name, member in node.items() if name != first}
    at = int(first)
    return node[:at] + ([_without(node[at], rest)] if rest else []) + node[at + 1 :]


def _with(node: Any, tokens: list[str], value: Any) -> Any:
    if not tokens:
        return value
    first, rest = tokens[0], tokens[1:]
    if isinstance(node, dict) and (not rest or first in node):
        return node | {first: _with(node.get(first), rest, value)}
    if isinstance(node, list):
        if rest:
            at = _index(first, len(node))
            return [*node[:at], _with(node[at], rest, value), *node[at + 1 :]]
        at = len(node) if first == "-" else _index(first, len(node) + 1)
        return [*node[:at], value, *node[at:]]
    raise _Nowhere


def _step(document: Any, operation: dict[str, Any]) -> Any:
    path = _tokens(operation["path"])
    source = _tokens(operation.get("from", ""))
    match operation["op"]:
        case "add":
            return _with(document, path, operation["value"])
        case "remove":
            return _without(document, path)
        case "replace":
            _get(document, path)
            return operation["value"] if not path else _replaced(document, path, operation["value"])
        case "copy":
            return _with(document, path, _get(document, source))
        case "move":
            moved = _get(document, source)
            if path == source:
                return document
            if path[: len(source)] == source:
                raise _Nowhere
            return _with(_without(document, source), path, moved)
    if _seen(_get(document, path)) != _seen(operation["value"]):
        raise AssertionError
    return document


def _replaced(node: Any, tokens: list[str], value: Any) -> Any:
    first, rest = tokens[0], tokens[1:]
    inner = value if not rest else _replaced(_get(node, [first]), rest, value)
    if isinstance(node, dict):
        return node | {first: inner}
    return [inner if at == int(first) else old for at, old in enumerate(node)]


def _expected(document: Any, operations: list[dict[str, Any]]) -> Any:
    """The patched document, or the error that is right."""
    for operation in operations:
        try:
            document = _step(document, operation)
        except _Nowhere:
            return PatchTestFailed if operation["op"] == "test" else PatchConflict
        except AssertionError:
            return PatchTestFailed
    return document if isinstance(document, dict) else PatchResultInvalid


@st.composite
def pointers(draw: st.DrawFn, document: Any) -> str:
    """Mostly a path in the document, or one next to it."""
    pointer, node = "", document
    while isinstance(node, dict | list) and draw(st.integers(0, 3)):
        here = list(node) if isinstance(node, dict) else list(map(str, range(len(node) + 1)))
        beside = not here or draw(st.integers(0, 4)) == 0
        token = draw(NAMES if beside else st.sampled_from(here))
        pointer += "/" + token.replace("~", "~0").replace("/", "~1")
        try:
            node = _get(node, [token])
        except _Nowhere:
            break
    return pointer


@st.composite
def patches(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A document and operations, each made for what the ones before it leave."""
    document = draw(OBJECTS)
    current: Any = document
    operations = []
    for _ in range(draw(st.integers(0, 6))):
        path = draw(pointers(current))
        operation = {
            "op": draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])),
            "path": path,
            "from": draw(pointers(current)),
            "value": draw(VALUES),
        }
        if operation["op"] == "test" and draw(st.booleans()):
            with contextlib.suppress(_Nowhere):
                operation["value"] = _respelled(_get(current, _tokens(path)))
        operations.append(operation)
        try:
            current = _step(current, operation)
        except (_Nowhere, AssertionError):
            break
    return document, operations


@given(patches())
def test_json_patch_equals_the_reference(
    case: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    document, operations = case
    expected = _expected(document, operations)
    patch = _text(operations).encode()
    if isinstance(expected, type):
        with pytest.raises(expected):
            apply_json_patch(_text(document).encode(), patch)
    else:
        patched = apply_json_patch(_text(document).encode(), patch)
        # As text: 1 is not 1.0, and no number is a string.
        assert _text(_read(patched)) == _text(_read(_text(expected).encode()))


def _difference(old: Any, new: Any) -> Any:
    """The merge patch that makes ``new`` of ``old``; ``new`` holds no null member."""
    if not isinstance(new, dict):
        return new
    if not isinstance(old, dict):
        return new
    removed = {name: None for name in old if name not in new}
    return removed | {name: _difference(old.get(name), member) for name, member in new.items()}


def _without_null_members(value: Any) -> Any:
    if isinstance(value, dict):
        return {n: _without_null_members(v) for n, v in value.items() if v is not None}
    return value


@given(OBJECTS, OBJECTS.map(_without_null_members))
def test_merging_a_difference_makes_the_new_of_the_old(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    difference = _text(_difference(old, new)).encode()
    assert _text(_read(apply_merge_patch(_text(old).encode(), difference))) == _text(
        _read(_text(new).encode())
    )


@given(OBJECTS, OBJECTS)
def test_merging_twice_is_merging_once(old: dict[str, Any], patch: dict[str, Any]) -> None:
    once = apply_merge_patch(_text(old).encode(), _text(patch).encode())
    assert _read(apply_merge_patch(once, _text(patch).encode())) == _read(once)
