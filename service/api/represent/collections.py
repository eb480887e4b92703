"""Collections as JSON: the name and the definition, all in one object."""

from collections.abc import Mapping
from typing import Any

import orjson

from service import native
from service.model.collection import Collection, Definition
from service.model.errors import InvalidContent, Location, ResourceMismatch
from service.model.json_text import problem_of
from service.model.query import Path, format_path

# Also in what is read, and left out of what is sent: who changes what was read may send it all.
_READ_ONLY = ("name", "version", "updated_at")
_MEMBERS = [*_READ_ONLY, *Definition().members()]


def members(collection: Collection) -> dict[str, Any]:
    """A collection with its definition; ``items`` has no time of a change."""
    changed = collection.updated_at
    return {
        "name": collection.name,
        "version": collection.version,
        "updated_at": None if changed is None else changed.isoformat(timespec="microseconds"),
    } | collection.definition.members()


def indexes(progress: Mapping[Path, tuple[int, int]]) -> list[dict[str, Any]]:
    """Of each declared attribute, in how many parts of the data its index is built."""
    return [
        {"attribute": format_path(path), "done": done, "total": total}
        for path, (done, total) in sorted(progress.items())
    ]


def parse(body: bytes, name: str) -> Definition:
    """The definition of the collection ``name`` in a body.

    Raises InvalidSyntax or InvalidContent, naming every location, and ResourceMismatch for
    another name.
    """
    found = native.scan_envelope(body, _MEMBERS)
    if isinstance(found, list):
        raise problem_of(found)
    sent = {member: _value(member, text) for member, text in found.items()}
    if sent.get("name", name) != name:
        location = Location("is not the name in the URL", pointer="/name")
        raise ResourceMismatch("The body defines another collection.", location)
    return Definition.sent({m: value for m, value in sent.items() if m not in _READ_ONLY})


def _value(member: str, text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # The scanner has read it, so what is left is a number beyond all doubles.
        location = Location("holds a number that is too large", pointer=f"/{member}")
        raise InvalidContent("This cannot define a collection.", location) from None
