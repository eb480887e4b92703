"""The body of a batch: what it asks for, or every place at which it is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from service import native
from service.api.headers.preconditions import KEY
from service.items.decision import Conditions
from service.model.entity_tag import TagCondition, parse_tag_condition
from service.model.errors import InvalidContent, Place
from service.model.json_text import pointer_token, problem_of, text_of, value_of

MAX_OPERATIONS = 500
# Data is three levels below the body: operations, operation, data.
_MAX_DEPTH = 66
_MAX_PLACES = 20
_MEMBERS = ["operations", "atomic"]
OPERATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # By their name: the members that each needs, and those that it may have.
    "create": (("idempotency_key", "data"), ()),
    "replace": (("id", "data"), ("if_match", "if_none_match", "idempotency_key")),
    "patch": (("id", "patch"), ("if_match", "idempotency_key")),
    "delete": (("id",), ("if_match", "idempotency_key")),
    "get": (("id",), ()),
}
Name: TypeAlias = Literal["create", "replace", "patch", "delete", "get"]


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """One operation. ``text`` is its data or patch; ``item_id`` is empty for a creation."""

    name: Name
    item_id: bytes
    text: bytes
    conditions: Conditions
    key: str | None
    identity: bytes


def parse(body: bytes, data_max_bytes: int) -> tuple[list[BatchOperation], bool]:
    """The operations, and whether they are one. Raises InvalidSyntax and InvalidContent.

    ``data_max_bytes`` is as large as one operation's data may be.
    """
    found = native.scan_envelope(body, _MEMBERS, _MAX_DEPTH)
    if isinstance(found, list):
        raise problem_of(found)
    sent = value_of(found.get("operations", b"null"))
    atomic = value_of(found.get("atomic", b"false"))
    wrong: list[Place] = []
    if not isinstance(atomic, bool):
        wrong.append(Place("is neither true nor false", pointer="/atomic"))
    if not isinstance(sent, list) or not 1 <= len(sent) <= MAX_OPERATIONS:
        wrong.append(Place(f"is not an array of 1 to {MAX_OPERATIONS}", pointer="/operations"))
        sent = []
    operations = [_operation(one, f"/operations/{n}", wrong) for n, one in enumerate(sent)]
    for index, operation in enumerate(operations):
        if operation is not None and len(operation.text) > data_max_bytes:
            wrong.append(
                Place(f"is larger than {data_max_bytes} bytes", pointer=f"/operations/{index}")
            )
    known = [operation for operation in operations if operation is not None]
    if not wrong and atomic:
        _check_atomic(known, wrong)
    if wrong:
        raise InvalidContent("The batch cannot be used.", *wrong[:_MAX_PLACES])
    return known, atomic


def _operation(sent: Any, where: str, wrong: list[Place]) -> BatchOperation | None:
    if not isinstance(sent, dict) or sent.get("op") not in [*OPERATIONS]:
        wrong.append(Place(f"is none of {', '.join(OPERATIONS)}", pointer=f"{where}/op"))
        return None
    before = len(wrong)
    name: Name = sent["op"]
    needed, optional = OPERATIONS[name]
    for member in sent:
        if member not in (*needed, *optional, "op"):
            pointer = f"{where}/{pointer_token(member)}"
            wrong.append(Place("is unknown here", pointer=pointer[:1024]))
    for member in needed:
        if member not in sent:
            wrong.append(Place("is missing", pointer=f"{where}/{member}"))
    values = {member: _value(member, sent[member], where, wrong) for member in sent}
    if len(wrong) > before:
        return None
    text = values.get("data") or values.get("patch") or b""
    tags = Conditions(values.get("if_match"), values.get("if_none_match"))
    key, item_id = values.get("idempotency_key"), values.get("id", b"")
    return BatchOperation(name, item_id, text, tags, key, _identity(sent, text))


def _value(member: str, sent: Any, where: str, wrong: list[Place]) -> Any:
    """The member's value as it is used; a place more in ``wrong`` where it cannot be."""
    detail = ""
    value: Any = None
    match member:
        case "id":
            value = native.parse_id(sent) if isinstance(sent, str) else None
            detail = "is not a ULID"
        case "data":
            value = text_of(sent) if isinstance(sent, dict) else None
            detail = "is not an object"
        case "patch":
            value = text_of(sent) if isinstance(sent, dict | list) else None
            detail = "is neither a merge patch nor a JSON Patch"
        case "if_match" | "if_none_match":
            value = _tags(sent)
            detail = "is not a list of entity tags"
        case "idempotency_key":
            value = sent if isinstance(sent, str) and KEY.fullmatch(sent) else None
            detail = "is not 1 to 255 visible ASCII characters"
        case _:
            return sent
    if value is None:
        wrong.append(Place(detail, pointer=f"{where}/{member}"))
    return value


def _tags(sent: Any) -> TagCondition | None:
    try:
        return parse_tag_condition(sent) if isinstance(sent, str) else None
    except ValueError:
        return None


def _identity(sent: Mapping[str, Any], text: bytes) -> bytes:
    """All of the operation that makes it the same again; its key is not part of that."""
    rest = [sent["op"], sent.get("id"), sent.get("if_match"), sent.get("if_none_match")]
    return text_of(rest) + text


def _check_atomic(operations: Sequence[BatchOperation], wrong: list[Place]) -> None:
    """One transaction changes an item once, and reads nothing for the caller."""
    items: set[bytes] = set()
    keys: set[tuple[bytes, str]] = set()
    for index, one in enumerate(operations):
        where = f"/operations/{index}"
        if one.name == "get":
            wrong.append(Place("has no place in an atomic batch", pointer=f"{where}/op"))
        if one.item_id and one.item_id in items:
            wrong.append(Place("is changed twice", pointer=f"{where}/id"))
        items.add(one.item_id)
        if one.key is not None:
            if (one.item_id, one.key) in keys:
                wrong.append(Place("is used twice", pointer=f"{where}/idempotency_key"))
            keys.add((one.item_id, one.key))
