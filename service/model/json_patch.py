"""Patches of JSON objects: merge patch (RFC 7396) and JSON Patch (RFC 6902).

Input and output are texts, and numbers keep every digit. The result is a new text, so a failed
patch changes nothing. Errors of the patch document itself are InvalidSyntax or InvalidContent, with
pointers into the patch; errors that depend on the item's state are PatchTestFailed, PatchConflict
or PatchResultInvalid.
"""

from typing import Any, Protocol

import jsonpatch
import orjson
from jsonpointer import EndOfList, JsonPointer, JsonPointerException

from service import native
from service.model.errors import (
    HotshelfError,
    InvalidSyntax,
    Location,
    PatchConflict,
    PatchResultInvalid,
    PatchTestFailed,
)
from service.model.json_text import locations_of, problem_of, text_of, value_of
from service.model.locations import Locations

MAX_BYTES = 1 << 20
# Each operation may shift a long array.
MAX_OPERATIONS = 1000
_KEPT_BYTES = 64 << 10
_MAX_DEPTH = 64
_NOT_A_PATCH = "The body is not a JSON Patch (RFC 6902)."

# The members that each operation needs besides its name (RFC 6902 section 4).
_OPERANDS = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("from", "path"),
    "copy": ("from", "path"),
    "test": ("path", "value"),
}


class Patch(Protocol):
    """A valid patch, for any item."""

    def apply(self, data: bytes, max_bytes: int = MAX_BYTES, max_depth: int = _MAX_DEPTH) -> bytes:
        """The text of ``data`` after the patch.

        The result is an object that the scanner accepts, of at most ``max_bytes`` unless ``data``
        is already larger (jsonb writes numbers out). Raises PatchResultInvalid, PatchTestFailed,
        PatchConflict.
        """


class MergePatch:
    """RFC 7396: null removes, objects merge, other values replace."""

    def __init__(self, text: bytes, max_depth: int = _MAX_DEPTH) -> None:
        """Raises InvalidSyntax, InvalidContent."""
        if found := native.scan_value(text, max_depth):
            raise problem_of(found)
        self._text = text

    def apply(self, data: bytes, max_bytes: int = MAX_BYTES, max_depth: int = _MAX_DEPTH) -> bytes:
        merged = _merged(value_of(data), value_of(self._text))
        return _storable(merged, max(max_bytes, len(data)), max_depth)


class JsonPatch:
    """RFC 6902: operations in order, whose copies together add at most ``max_bytes``.

    Operations are parsed once for validation. They are used for one application only, because their
    values become parts of the document, which later operations change; those of a long patch are
    parsed again, because objects take 40 times the memory of their text while the patch waits.
    """

    def __init__(self, text: bytes, max_depth: int = _MAX_DEPTH) -> None:
        """Raises InvalidSyntax, InvalidContent."""
        operations = _operations(text, max_depth)
        self._text = text
        self._parsed = operations if len(text) <= _KEPT_BYTES else None

    def apply(self, data: bytes, max_bytes: int = MAX_BYTES, max_depth: int = _MAX_DEPTH) -> bytes:
        """Raises PatchTestFailed, PatchConflict, PatchResultInvalid."""
        operations, self._parsed = self._parsed, None
        document, room = value_of(data), max_bytes
        for index, operation in enumerate(operations or value_of(self._text)):
            room -= _copied_bytes(document, operation)
            if room < 0:
                raise PatchResultInvalid(
                    f"The patch copies more than {max_bytes} bytes.",
                    Location("copies too much", pointer=f"/{index}"),
                )
            document = _apply(document, index, operation)
        return _storable(document, max(max_bytes, len(data)), max_depth)


def apply_members(data: bytes, members: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """The text of ``data`` with these members of it replaced, as a JSON:API update asks.

    Both are objects that the scanner passed. Raises PatchResultInvalid.
    """
    return _storable(value_of(data) | value_of(members), max(max_bytes, len(data)), _MAX_DEPTH)


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2. Modifies ``target``."""
    if not isinstance(patch, dict):
        return patch
    merged = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


class _Repeating(dict[str, Any]):
    """An object whose text has a repeated name."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Repeating(members)


def _operations(patch: bytes, max_depth: int) -> list[dict[str, Any]]:
    """The operations, each validated. Raises InvalidSyntax, with every location."""
    # The array of operations and the operation itself are two levels above the values.
    if found := native.scan_value(patch, max_depth + 2):
        raise problem_of(found)
    operations = value_of(patch, _pairs)
    if not isinstance(operations, list):
        raise InvalidSyntax(_NOT_A_PATCH, Location("is not an array of operations", pointer=""))
    if len(operations) > MAX_OPERATIONS:
        detail = f"is one operation more than {MAX_OPERATIONS}"
        raise InvalidSyntax(_NOT_A_PATCH, Location(detail, pointer=f"/{MAX_OPERATIONS}"))
    wrong = Locations()
    for index, operation in enumerate(operations):
        wrong.add(*_wrong_locations(f"/{index}", operation))
        if wrong.full:
            break
    wrong.raise_any(InvalidSyntax, _NOT_A_PATCH)
    return operations


def _wrong_locations(pointer: str, operation: Any) -> list[Location]:
    if not isinstance(operation, dict):
        return [Location("is not an operation object", pointer=pointer)]
    if isinstance(operation, _Repeating):
        # RFC 6902 appendix A.13: which of two "op" members counts is undefined.
        return [Location("has a repeated member", pointer=pointer)]
    name = operation.get("op")
    if not isinstance(name, str) or name not in _OPERANDS:
        return [Location(f"is none of {', '.join(_OPERANDS)}", pointer=f"{pointer}/op")]
    wrong = []
    for operand in _OPERANDS[name]:
        if operand not in operation:
            wrong.append(Location("is missing", pointer=f"{pointer}/{operand}"))
        elif operand != "value" and not _is_pointer(operation[operand]):
            wrong.append(Location("is not a JSON Pointer", pointer=f"{pointer}/{operand}"))
    return wrong


def _is_pointer(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        JsonPointer(value)
    except JsonPointerException:
        return False
    return True


def _copied_bytes(document: Any, operation: dict[str, Any]) -> int:
    """The bytes of text that a copy adds. Raises PatchResultInvalid if it is nested too deep."""
    if operation["op"] != "copy":
        return 0
    try:
        source = JsonPointer(operation["from"]).resolve(document)
    except JsonPointerException:
        return 0
    return 0 if isinstance(source, EndOfList) else len(_text(source))


def _apply(document: Any, index: int, operation: dict[str, Any]) -> Any:
    try:
        return jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    except jsonpatch.JsonPatchTestFailed:
        raise _refused(PatchTestFailed, "A test of the patch failed.", index) from None
    except (jsonpatch.JsonPatchException, JsonPointerException):
        detail = "An operation of the patch does not fit the item."
        raise _refused(PatchConflict, detail, index) from None


def _refused(error: type[HotshelfError], detail: str, index: int) -> HotshelfError:
    return error(detail, Location("cannot be applied to the item", pointer=f"/{index}"))


def _storable(document: Any, max_bytes: int, max_depth: int) -> bytes:
    if not isinstance(document, dict):
        raise _invalid("is not an object")
    text = _text(document)
    if len(text) > max_bytes:
        raise _invalid(f"is larger than {max_bytes} bytes")
    if found := native.scan_value(text, max_depth):
        raise PatchResultInvalid("The patched data could not be stored.", *locations_of(found))
    return text


def _text(value: Any) -> bytes:
    try:
        return text_of(value)
    except orjson.JSONEncodeError:
        raise _invalid("is nested too deep") from None


def _invalid(detail: str) -> PatchResultInvalid:
    return PatchResultInvalid("The patched data could not be stored.", Location(detail, pointer=""))
