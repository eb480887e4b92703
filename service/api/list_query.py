"""What a list request asks for: from its query string, or from the JSON body of a search."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service import native
from service.api.fields import chosen_fields
from service.api.filter_values import checked_condition, json_text, json_texts
from service.api.query import parameters
from service.model.errors import InvalidContent, InvalidParameter, Place
from service.model.json_text import problem_of, text_of, value_of
from service.model.query import CREATED_AT, ID, OWNER_ID, Condition, Path, Query, Sort, parse_path

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000

_MAX_CONDITIONS = 20
_MEMBERS = ["filter", "sort", "limit", "cursor", "fields"]
_FILTER = "filter["
_LIMIT = re.compile(r"0*[1-9][0-9]{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A list as it was asked for. The places are where to complain of sort and cursor."""

    query: Query
    limit: int
    cursor: str | None
    fields: frozenset[str] | None
    sort_place: Place
    cursor_place: Place


def from_query_string(query_string: str) -> ListRequest:
    """Raises InvalidParameter."""
    sent = parameters(query_string, ("limit", "cursor", "sort", "fields"), _FILTER)
    names = [name for name in sent if name.startswith(_FILTER)]
    if len(names) > _MAX_CONDITIONS:
        raise _bad_parameter(names[-1], f"is one filter more than {_MAX_CONDITIONS}")
    conditions = tuple(_in_parameter(name, _parameter, name, sent[name]) for name in names)
    return ListRequest(
        Query(conditions, _in_parameter("sort", _sort, sent.get("sort"))),
        _in_parameter("limit", _limit, sent.get("limit")),
        sent.get("cursor"),
        chosen_fields(sent),
        Place("", parameter="sort"),
        Place("is not valid here", parameter="cursor"),
    )


def from_body(body: bytes) -> ListRequest:
    """Raises InvalidSyntax and InvalidContent."""
    found = native.scan_envelope(body, _MEMBERS)
    if isinstance(found, list):
        raise problem_of(found)
    sent = {name: value_of(text) for name, text in found.items()}
    limit = _member(sent, "limit", int, f"is not a whole number from 1 to {MAX_LIMIT}")
    fields = _member(sent, "fields", list, "is not an array of names")
    if fields is not None and any(type(name) is not str for name in fields):
        raise _bad_member("/fields", "is not an array of names")
    sort = _member(sent, "sort", str, "is not text")
    return ListRequest(
        Query(
            tuple(_body_conditions(_member(sent, "filter", dict, "is not an object") or {})),
            _in_member("/sort", _sort, sort),
        ),
        _in_member("/limit", _limit, None if limit is None else str(limit)),
        _member(sent, "cursor", str, "is not text"),
        None if fields is None else frozenset(fields),
        Place("", pointer="/sort"),
        Place("is not valid here", pointer="/cursor"),
    )


def _parameter(name: str, value: str) -> Condition:
    """The condition of ``filter[path]=value`` or ``filter[path][operator]=value``."""
    if not name.endswith("]"):
        raise ValueError("does not end in ]")
    attribute, bracket, operator = name[len(_FILTER) : -1].rpartition("][")
    if not bracket:
        attribute, operator = operator, "eq"
    path = parse_path(attribute)
    # Owners and times have no JSON type, and only text has a prefix.
    as_text = operator == "prefix" or (path in (OWNER_ID, CREATED_AT) and operator != "exists")
    read: Callable[[str, bool], list[str]] = json_texts if operator in ("in", "nin") else _single
    return checked_condition(path, operator, read(value, as_text), Place("", parameter=name[:256]))


def _single(value: str, as_text: bool) -> list[str]:
    return [json_text(value, as_text)]


def _body_conditions(filters: Mapping[str, Any]) -> list[Condition]:
    """The member of each name is a scalar to be equal to, or an object of operators."""
    conditions: list[Condition] = []
    for name, wanted in filters.items():
        pointer = f"/filter/{_escaped(name)}"
        path: Path = _in_member(pointer, parse_path, name)
        if isinstance(wanted, list) or wanted == {}:
            raise _bad_member(pointer, 'is neither a scalar nor an object such as {"eq": …}')
        for operator, value in (wanted if isinstance(wanted, dict) else {"eq": wanted}).items():
            place = f"{pointer}/{_escaped(operator)}" if isinstance(wanted, dict) else pointer
            conditions.append(_in_member(place, _body_condition, path, operator, value, place))
    if len(conditions) > _MAX_CONDITIONS:
        raise _bad_member("/filter", f"has more than {_MAX_CONDITIONS} conditions")
    return conditions


def _body_condition(path: Path, operator: str, value: Any, pointer: str) -> Condition:
    if operator in ("in", "nin"):
        if not isinstance(value, list):
            raise ValueError("is not an array")
        values = value
    else:
        values = [value]
    texts = [text_of(one).decode() for one in values]
    return checked_condition(path, operator, texts, Place("", pointer=pointer[:1024]))


def _sort(text: str | None) -> Sort:
    if text is None:
        return Sort(ID)
    return Sort(parse_path(text.removeprefix("-")), text.startswith("-"))


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or int(text) > MAX_LIMIT:
        raise ValueError(f"is not a number from 1 to {MAX_LIMIT} in plain digits")
    return int(text)


def _in_parameter(name: str, parse: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return parse(*arguments)
    except ValueError as error:
        raise _bad_parameter(name, str(error)) from None


def _in_member(pointer: str, parse: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return parse(*arguments)
    except ValueError as error:
        raise _bad_member(pointer, str(error)) from None


def _member(sent: Mapping[str, Any], name: str, wanted: type, problem: str) -> Any:
    """The member if it was sent. A bool is a kind of int, so types are compared as they are."""
    value = sent.get(name)
    if name in sent and type(value) is not wanted:
        raise _bad_member(f"/{name}", problem)
    return value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _bad_parameter(name: str, problem: str) -> InvalidParameter:
    return InvalidParameter(
        "A parameter of the list cannot be used.", Place(problem, parameter=name[:256])
    )


def _bad_member(pointer: str, problem: str) -> InvalidContent:
    return InvalidContent("The search cannot be used.", Place(problem, pointer=pointer[:1024]))
