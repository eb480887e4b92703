"""Parses list requests: the query string of a list, or the JSON body of a search."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service import native
from service.api.filter_values import (
    check_count,
    check_operator,
    checked_condition,
    json_text,
    json_texts,
)
from service.api.query import QUERY_MAX_BYTES, parameters
from service.api.represent.cursor_profile import (
    MAX_SIZE_EXCEEDED,
    RANGE_NOT_SUPPORTED,
    UNSUPPORTED_SORT,
)
from service.api.represent.fields import chosen_fields, parameter_of
from service.model.bounds import bounded
from service.model.errors import (
    BodyTooLarge,
    InvalidContent,
    InvalidParameter,
    InvalidSyntax,
    Location,
)
from service.model.json_text import pointer_token, problem_of, text_of, value_of
from service.model.query import (
    CREATED_AT,
    DEFAULT_LIMIT,
    ID,
    MAX_LIMIT,
    OWNER_ID,
    Condition,
    Path,
    Query,
    Sort,
    parse_path,
)
from service.model.resource import ITEMS, Resource

MAX_CONDITIONS = 20
# The body of a search; 1,000 values of 60 bytes.
SEARCH_MAX_BYTES = 65_536
_MAX_LOCATIONS = 20
_MEMBERS = ["filter", "sort", "limit", "cursor", "fields"]
_FILTER = "filter["
_LIMIT = re.compile(r"0*([1-9][0-9]*)", re.ASCII)
_RULES = {"sort": UNSUPPORTED_SORT}


# Version 2 uses the names of JSON:API's cursor pagination profile.
LIMIT_NAME = {1: "limit", 2: "page[size]"}
CURSOR_NAMES = {
    1: {"next": "cursor", "prev": "cursor"},
    2: {"next": "page[after]", "prev": "page[before]"},
}


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A parsed list request. The locations are those of sort and cursor in the request."""

    query: Query
    limit: int
    cursor: str | None
    fields: frozenset[str] | None
    sort_location: Location
    cursor_location: Location


@bounded(QUERY_MAX_BYTES)
def from_query_string(query_string: str, version: int, kind: Resource = ITEMS) -> ListRequest:
    """The request in a query string. Raises InvalidParameter, with every location.

    Conditions, and the values of all together, are counted before any is parsed.
    """
    size = LIMIT_NAME[version]
    cursors = dict.fromkeys(CURSOR_NAMES[version].values())
    fields = parameter_of(version, kind)
    sent = parameters(query_string, (size, *cursors, "sort", fields), _FILTER)
    names = [name for name in sent if name.startswith(_FILTER)]
    wrong = _Wrong(lambda name: Location("", parameter=name[:256], rule=_RULES.get(name, "")))
    if len(names) > MAX_CONDITIONS:
        wrong.add(names[-1], f"is one filter more than {MAX_CONDITIONS}")
        names = []
    conditions = [wrong.unless(name, _parameter, name, sent[name]) for name in names]
    if not wrong.locations and conditions:
        wrong.unless(names[-1], check_count, sum(len(one.values) for one in conditions))
    sort = wrong.unless("sort", _sort, sent.get("sort"))
    limit = wrong.unless(size, _limit, sent.get(size))
    cursor_name, *others = [name for name in cursors if name in sent] or [*cursors][:1]
    for name in others:
        wrong.add(name, "cannot be used with the other", RANGE_NOT_SUPPORTED)
    if wrong.locations:
        raise InvalidParameter("A parameter of the list cannot be used.", *wrong.locations)
    return ListRequest(
        Query(tuple(conditions), sort),
        limit,
        sent.get(cursor_name),
        chosen_fields(sent, fields),
        Location("", parameter="sort", rule=UNSUPPORTED_SORT),
        Location("is not valid here", parameter=cursor_name),
    )


@bounded(SEARCH_MAX_BYTES)
def from_body(body: bytes) -> ListRequest:
    """The request in a search's body. Raises BodyTooLarge, InvalidSyntax, InvalidContent.

    Conditions and values are counted before any is parsed.
    """
    if len(body) > SEARCH_MAX_BYTES:
        detail = f"The body of a search is larger than {SEARCH_MAX_BYTES} bytes."
        raise BodyTooLarge(detail, extra={"max_bytes": SEARCH_MAX_BYTES})
    found = native.scan_envelope(body, _MEMBERS)
    if isinstance(found, list):
        raise problem_of(found)
    sent = {name: value_of(text) for name, text in found.items() if name != "filter"}
    wrong = _Wrong(lambda pointer: Location("", pointer=pointer[:1024]))
    filters = read_filters(found["filter"], wrong) if "filter" in found else {}
    conditions = _body_conditions(filters, wrong)
    sort = wrong.unless("/sort", lambda: _sort(_member(sent, "sort", str, "is not text")))
    limit = wrong.unless("/limit", _body_limit, sent)
    cursor = wrong.unless("/cursor", _member, sent, "cursor", str, "is not text")
    fields = wrong.unless("/fields", _body_fields, sent)
    if wrong.locations:
        raise InvalidContent("The search cannot be used.", *wrong.locations)
    return ListRequest(
        Query(tuple(conditions), sort),
        limit,
        cursor,
        fields,
        Location("", pointer="/sort"),
        Location("is not valid here", pointer="/cursor"),
    )


class _Wrong:
    """Collects error locations, so that one response has them all."""

    def __init__(self, location_of: Callable[[str], Location]) -> None:
        self._location_of = location_of
        self.locations: list[Location] = []

    def add(self, where: str, detail: str, rule: str = "") -> None:
        if len(self.locations) < _MAX_LOCATIONS:
            location = self._location_of(where)
            self.locations.append(replace(location, detail=detail, rule=rule or location.rule))

    def unless(self, where: str, parse: Callable[..., Any], *arguments: Any) -> Any:
        """The result of ``parse``, or None if it raises ValueError, whose text is added."""
        try:
            return parse(*arguments)
        except _TooMany as error:
            self.add(where, str(error), MAX_SIZE_EXCEEDED)
        except ValueError as error:
            self.add(where, str(error))
        return None


class _TooMany(ValueError):
    """The limit of a page exceeds the maximum."""


def _parameter(name: str, value: str) -> Condition:
    """The condition of ``filter[path]=value`` or ``filter[path][operator]=value``."""
    if not name.endswith("]"):
        raise ValueError("does not end in ]")
    attribute, bracket, operator = name[len(_FILTER) : -1].rpartition("][")
    if not bracket:
        attribute, operator = operator, "eq"
    path = parse_path(attribute)
    # Always text, because owners and times have no JSON type, and only text has a prefix.
    as_text = operator == "prefix" or (path in (OWNER_ID, CREATED_AT) and operator != "exists")
    read: Callable[[str, bool], list[str]] = json_texts if operator in ("in", "nin") else _single
    return checked_condition(
        path, operator, read(value, as_text), Location("", parameter=name[:256])
    )


def _single(value: str, as_text: bool) -> list[str]:
    return [json_text(value, as_text)]


class _Members(dict[str, Any]):
    """An object's members, and the first repeated name."""

    twice: str | None = None

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> "_Members":
        members = cls(pairs)
        if len(members) < len(pairs):
            names = Counter(name for name, _ in pairs)
            members.twice = next(name for name, times in names.items() if times > 1)
        return members


def read_filters(text: bytes, wrong: _Wrong) -> Mapping[str, Any]:
    """The conditions by attribute: a scalar for equality, or an object of operators.

    Empty if there are too many. Raises InvalidSyntax for a repeated name or operator, because which
    one counts would be undefined.
    """
    filters = value_of(text, _Members.of)
    if not isinstance(filters, _Members):
        wrong.add("/filter", "is not an object")
        return {}
    nested = [(f"/filter/{pointer_token(name)}", one) for name, one in filters.items()]
    for pointer, one in [("/filter", filters), *nested]:
        if isinstance(one, _Members) and one.twice is not None:
            where = f"{pointer}/{pointer_token(one.twice)}"[:1024]
            location = Location("is given twice", pointer=where)
            raise InvalidSyntax("The body is not the JSON that is expected here.", location)
    operators = [one.items() if isinstance(one, _Members) else [("eq", one)] for _, one in nested]
    values = sum(len(v) if isinstance(v, list) else 1 for each in operators for _, v in each)
    if sum(map(len, operators)) > MAX_CONDITIONS:
        wrong.add("/filter", f"has more than {MAX_CONDITIONS} conditions")
        return {}
    wrong.unless("/filter", check_count, values)
    return filters if not wrong.locations else {}


def _body_conditions(filters: Mapping[str, Any], wrong: _Wrong) -> list[Condition]:
    conditions: list[Condition] = []
    for name, wanted in filters.items():
        pointer = f"/filter/{pointer_token(name)}"
        path = wrong.unless(pointer, parse_path, name)
        if isinstance(wanted, list) or wanted == {}:
            wrong.add(pointer, 'is neither a scalar nor an object such as {"eq": …}')
            continue
        by_operator = wanted if isinstance(wanted, dict) else {"eq": wanted}
        for operator, value in by_operator.items() if path else ():
            where = f"{pointer}/{pointer_token(operator)}" if isinstance(wanted, dict) else pointer
            conditions.append(wrong.unless(where, _body_condition, path, operator, value, where))
    return conditions


def _body_condition(path: Path, operator: str, value: Any, pointer: str) -> Condition:
    check_operator(operator)
    if operator in ("in", "nin"):
        if not isinstance(value, list):
            raise ValueError("is not an array")
        values = value
    else:
        values = [value]
    texts = [text_of(one).decode() for one in values]
    return checked_condition(path, operator, texts, Location("", pointer=pointer[:1024]))


def _sort(text: str | None) -> Sort:
    if text is None:
        return Sort(ID)
    return Sort(parse_path(text.removeprefix("-")), text.startswith("-"))


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    problem = f"is not a number from 1 to {MAX_LIMIT} in plain digits"
    digits = _LIMIT.fullmatch(text)
    if digits is None:
        raise ValueError(problem)
    if len(digits[1]) > len(str(MAX_LIMIT)) or int(digits[1]) > MAX_LIMIT:
        raise _TooMany(problem)
    return int(digits[1])


def _body_limit(sent: Mapping[str, Any]) -> int:
    limit = _member(sent, "limit", int, f"is not a whole number from 1 to {MAX_LIMIT}")
    return _limit(None if limit is None else str(limit))


def _body_fields(sent: Mapping[str, Any]) -> frozenset[str] | None:
    names = _member(sent, "fields", list, "is not an array of names")
    if names is None:
        return None
    if any(type(name) is not str for name in names):
        raise ValueError("is not an array of names")
    return frozenset(names)


def _member(sent: Mapping[str, Any], name: str, wanted: type, problem: str) -> Any:
    """The member if it was sent. Types are compared exactly, because bool is a subclass of int."""
    value = sent.get(name)
    if name in sent and type(value) is not wanted:
        raise ValueError(problem)
    return value
