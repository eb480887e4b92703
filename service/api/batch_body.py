"""Parses the body of a batch, or reports every location at which it is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from service import native
from service.api.headers.preconditions import KEY
from service.items.decision import Conditions
from service.model.bounds import FIELD_MAX_BYTES, bounded
from service.model.collection import NAME
from service.model.entity_tag import TagCondition, parse_tag_condition
from service.model.errors import InvalidContent, InvalidSyntax, Location
from service.model.json_text import problem_of, text_of, value_of

MAX_OPERATIONS = 500
# For a caller that may only read: 500 reads with generous white space.
READS_MAX_BYTES = 1 << 20
# The maximum of http.batch_max_bytes; the setting itself is enforced while the body is read.
BATCH_MAX_BYTES = 64 << 20
# Data is three levels below the body: operations, operation, data.
_MAX_DEPTH = 66
_MAX_LOCATIONS = 20
_MEMBERS = ["operations", "atomic"]
OPERATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # For each operation: its required members, and its optional ones beside `collection`.
    "create": (("idempotency_key", "data"), ()),
    "replace": (("id", "data"), ("if_match", "if_none_match", "idempotency_key")),
    "patch": (("id", "patch"), ("if_match", "idempotency_key")),
    "delete": (("id",), ("if_match", "idempotency_key")),
    "get": (("id",), ()),
}
_OPERATION_MEMBERS = [
    *("op", "id", "data", "patch", "if_match", "if_none_match", "idempotency_key"),
    "collection",
]
_TEXTS = ("data", "patch")
Name: TypeAlias = Literal["create", "replace", "patch", "delete", "get"]


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """One operation. ``text`` is its data or patch; ``item_id`` is empty for a create.

    ``collection`` is the name of its collection; None: the one in the URL.
    """

    name: Name
    item_id: bytes
    text: bytes
    conditions: Conditions
    key: str | None
    identity: bytes
    collection: str | None = None


@bounded(BATCH_MAX_BYTES)
def parse(body: bytes, data_max_bytes: int) -> tuple[list[BatchOperation], bool]:
    """The operations, and whether they are atomic. Raises InvalidSyntax and InvalidContent.

    ``data_max_bytes`` is the limit of one operation's data. Data and patches are not parsed into
    objects but kept as the text that was sent, and operations are counted first.
    """
    found = native.scan_elements(body, _MEMBERS, "operations", MAX_OPERATIONS, _MAX_DEPTH)
    if isinstance(found, list):
        raise problem_of(found)
    others, spans = found
    wrong: list[Location] = []
    atomic = others.get("atomic", b"false")
    if atomic not in (b"true", b"false"):
        wrong.append(Location("is neither true nor false", pointer="/atomic"))
    if spans is None or not 1 <= len(spans) <= MAX_OPERATIONS:
        wrong.append(Location(f"is not an array of 1 to {MAX_OPERATIONS}", pointer="/operations"))
        spans = []
    operations = [
        _operation(body[start:end], f"/operations/{n}", data_max_bytes, wrong)
        for n, (start, end) in enumerate(spans)
    ]
    known = [operation for operation in operations if operation is not None]
    if not wrong and atomic == b"true":
        _check_atomic(known, wrong)
    if wrong:
        raise InvalidContent("The batch cannot be used.", *wrong[:_MAX_LOCATIONS])
    return known, atomic == b"true"


def _operation(
    text: bytes, where: str, data_max_bytes: int, wrong: list[Location]
) -> BatchOperation | None:
    """The operation with this text, or None, with its faults added to ``wrong``. Raises
    InvalidSyntax.
    """
    before = len(wrong)
    found = _members(text, where, wrong)
    # Data and patches stay text; the other members are short, so they are parsed.
    sent = {name: value_of(found[name]) for name in found if name not in _TEXTS}
    name: Name | None = sent.get("op") if sent.get("op") in [*OPERATIONS] else None
    if name is None and len(wrong) == before:
        wrong.append(Location(f"is none of {', '.join(OPERATIONS)}", pointer=f"{where}/op"))
    if name is None:
        return None
    needed, optional = OPERATIONS[name]
    for member in found:
        if member not in (*needed, *optional, "op", "collection"):
            wrong.append(Location("is unknown here", pointer=f"{where}/{member}"))
    for member in needed:
        if member not in found:
            wrong.append(Location("is missing", pointer=f"{where}/{member}"))
    data = found.get("data") or found.get("patch") or b""
    if len(data) > data_max_bytes:
        wrong.append(Location(f"is larger than {data_max_bytes} bytes", pointer=where))
    values = {m: _value(m, sent.get(m, found[m]), where, wrong) for m in found}
    if len(wrong) > before:
        return None
    tags = Conditions(values.get("if_match"), values.get("if_none_match"))
    key, item_id = values.get("idempotency_key"), values.get("id", b"")
    identity = _identity(sent, data)
    return BatchOperation(name, item_id, data, tags, key, identity, values.get("collection"))


def _members(text: bytes, where: str, wrong: list[Location]) -> dict[str, bytes]:
    """The operation's members; if one is invalid none, with its location added to ``wrong``.

    Raises InvalidSyntax for a repeated member, as for every other body.
    """
    found = native.scan_envelope(text, _OPERATION_MEMBERS, _MAX_DEPTH)
    if isinstance(found, dict):
        long = [m for m, sent in found.items() if m not in _TEXTS and len(sent) > FIELD_MAX_BYTES]
        detail = f"is longer than {FIELD_MAX_BYTES} bytes"
        wrong += [Location(detail, pointer=f"{where}/{member}") for member in long]
        return {} if long else found
    twice = [problem.pointer for problem in found if problem.rule == "duplicate-member"]
    if twice:
        locations = (Location("is given twice", pointer=f"{where}{pointer}") for pointer in twice)
        raise InvalidSyntax("The body is not the JSON that is expected here.", *locations)
    unknown = (f"{where}{one.pointer}"[:1024] for one in found if one.rule == "unknown-member")
    wrong += [Location("is unknown here", pointer=pointer) for pointer in unknown]
    return {}


def _value(member: str, sent: Any, where: str, wrong: list[Location]) -> Any:
    """The member's converted value; adds a location to ``wrong`` if it is invalid."""
    detail = ""
    value: Any = None
    match member:
        case "id":
            value = native.parse_id(sent) if isinstance(sent, str) else None
            detail = "is not a ULID"
        case "data":
            value = sent if sent[:1] == b"{" else None
            detail = "is not an object"
        case "patch":
            value = sent if sent[:1] in (b"{", b"[") else None
            detail = "is neither a merge patch nor a JSON Patch"
        case "if_match" | "if_none_match":
            value = _tags(sent)
            detail = "is not a list of entity tags"
        case "collection":
            value = sent if isinstance(sent, str) and NAME.fullmatch(sent) else None
            detail = "is not the name of a collection"
        case "idempotency_key":
            value = sent if isinstance(sent, str) and KEY.fullmatch(sent) else None
            detail = "is not 1 to 255 visible ASCII characters"
        case _:
            return sent
    if value is None:
        wrong.append(Location(detail, pointer=f"{where}/{member}"))
    return value


def _tags(sent: Any) -> TagCondition | None:
    try:
        return parse_tag_condition(sent) if isinstance(sent, str) else None
    except ValueError:
        return None


def _identity(sent: Mapping[str, Any], text: bytes) -> bytes:
    """The text that identifies a repeated operation; it excludes the idempotency key."""
    rest = [sent["op"], sent.get("id"), sent.get("if_match"), sent.get("if_none_match")]
    return text_of(rest) + text


def _check_atomic(operations: Sequence[BatchOperation], wrong: list[Location]) -> None:
    """An atomic batch changes each item at most once and contains no reads."""
    items: set[bytes] = set()
    keys: set[tuple[bytes, str]] = set()
    for index, one in enumerate(operations):
        where = f"/operations/{index}"
        if one.name == "get":
            wrong.append(Location("is not allowed in an atomic batch", pointer=f"{where}/op"))
        if one.item_id and one.item_id in items:
            wrong.append(Location("is changed twice", pointer=f"{where}/id"))
        items.add(one.item_id)
        if one.key is not None:
            if (one.item_id, one.key) in keys:
                wrong.append(Location("is used twice", pointer=f"{where}/idempotency_key"))
            keys.add((one.item_id, one.key))
