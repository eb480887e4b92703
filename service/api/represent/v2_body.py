"""Request bodies of version 2: JSON:API documents with one resource object."""

from collections.abc import Mapping, Sequence

from service import native
from service.model.errors import (
    ClientIdForbidden,
    InvalidContent,
    InvalidSyntax,
    Location,
    ResourceMismatch,
)
from service.model.item_json import DATA_MAX_DEPTH
from service.model.json_text import problem_of, value_of
from service.model.resource import Resource

# Allowed but ignored, so that a client can send a document back as it was read.
_DOCUMENT = ["data", "jsonapi", "links", "meta"]
_RESOURCE = ["type", "id", "lid", "attributes", "links", "meta", "relationships"]


def parse_body(body: bytes, item_id: bytes | None, kind: Resource) -> bytes:
    """The JSON text of ``attributes`` in a POST (``item_id`` None) or PUT body.

    Raises InvalidSyntax, InvalidContent, ResourceMismatch, ClientIdForbidden.
    """
    members = _resource_members(body)
    _check_identity(members, item_id, kind, id_needed=False)
    attributes = members.get("attributes")
    if attributes is None:
        location = Location("is missing", pointer="/data/attributes")
        raise InvalidContent("The resource has no attributes.", location)
    return attributes


def parse_update(body: bytes, item_id: bytes, kind: Resource) -> bytes:
    """The same for a PATCH body, where omitted attributes keep their values."""
    members = _resource_members(body)
    _check_identity(members, item_id, kind, id_needed=True)
    return members.get("attributes", b"{}")


def _resource_members(body: bytes) -> Mapping[str, bytes]:
    """The raw members of a document's resource object. Raises errors with every location."""
    document = native.scan_envelope(body, _DOCUMENT, DATA_MAX_DEPTH + 1)
    if isinstance(document, list):
        raise problem_of(document)
    resource_text = document.get("data")
    if resource_text is None:
        raise InvalidContent("The body has no data.", Location("is missing", pointer="/data"))
    if not resource_text.startswith(b"{"):
        location = Location("is not a resource object", pointer="/data")
        raise InvalidContent("Data must be a resource object.", location)
    members = resource_members(resource_text)
    if isinstance(members, list):
        raise _problem(members)
    wrong = [
        Location("is not an object", pointer=f"/data/{name}")
        for name in ("attributes", "links", "meta", "relationships")
        if not members.get(name, b"{").startswith(b"{")
    ]
    if value_of(members.get("relationships", b"{}")):
        wrong.append(
            Location("must be empty, because items have none", pointer="/data/relationships")
        )
    # A client's own name for what has no id yet; nothing in a document of one resource needs it.
    if not members.get("lid", b'"').startswith(b'"'):
        wrong.append(Location("is not text", pointer="/data/lid"))
    if wrong:
        raise InvalidContent("The resource object is not that of an item.", *wrong)
    return members


def resource_members(resource_text: bytes) -> dict[str, bytes] | list[native.ScanProblem]:
    """The members' texts of a resource object, or its faults."""
    return native.scan_envelope(resource_text, _RESOURCE, DATA_MAX_DEPTH)


def _problem(found: Sequence[native.ScanProblem]) -> InvalidSyntax | InvalidContent:
    """The error for faults in a part; without line and column, which would count from the part."""
    locations = [Location(p.detail, pointer=f"/data{p.pointer}") for p in found]
    if any(p.rule == "duplicate-member" for p in found):
        return InvalidSyntax("The resource object holds a member twice.", *locations)
    return InvalidContent("The resource object is not that of an item.", *locations)


def _check_identity(
    members: Mapping[str, bytes], item_id: bytes | None, kind: Resource, *, id_needed: bool
) -> None:
    """JSON:API 1.1, "Creating Resources" (403, 409) and "Updating Resources" (409)."""
    needed = ("type", "id") if id_needed else ("type",)
    missing = [Location("is missing", pointer=f"/data/{n}") for n in needed if n not in members]
    if missing:
        raise InvalidContent("The resource object does not say which it is.", *missing)
    if value_of(members["type"]) != kind.json_api_type:
        location = Location(f"is not {kind.json_api_type}", pointer="/data/type")
        raise ResourceMismatch("The resource is of another type.", location)
    if "id" not in members:
        return
    if item_id is None:
        location = Location("is for the service to choose", pointer="/data/id")
        raise ClientIdForbidden("To choose an item's id, create it with PUT.", location)
    sent = value_of(members["id"])
    if not isinstance(sent, str) or native.parse_id(sent) != item_id:
        location = Location("is not the id in the URL", pointer="/data/id")
        raise ResourceMismatch("The resource is not the one at this URL.", location)
