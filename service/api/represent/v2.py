"""Version 2 of the representation: JSON:API 1.1 documents around the item's own JSON text.

``attributes`` is the item's data as it is; owner, version and times are the resource's ``meta``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from service import native
from service.api.represent import cursor_profile
from service.model.errors import (
    ClientIdForbidden,
    HotshelfError,
    InvalidContent,
    InvalidSyntax,
    PatchResultInvalid,
    Place,
    ResourceMismatch,
)
from service.model.item import Item
from service.model.item_json import DATA_MAX_DEPTH, timestamp
from service.model.json_patch import apply_members
from service.model.json_text import places_of, problem_of, value_of
from service.model.query import MAX_LIMIT
from service.model.resource import ITEMS

# The document and the resource are two levels above the attributes.
PATCH_MAX_DEPTH = DATA_MAX_DEPTH + 2
VERSION = {"version": "1.1"}
# What is not looked at is there so that a document can be sent back as it was read.
_DOCUMENT = ["data", "jsonapi", "links", "meta"]
_RESOURCE = ["type", "id", "attributes", "links", "meta", "relationships"]
_FIXED = ("type", "id", "links", "meta")
_TYPE = ITEMS.json_api_type.encode()
_ENVELOPE = b'{"data":{"type":"%b","attributes":}}' % _TYPE


def render(item: Item, base_url: str) -> bytes:
    """The document of an item that is not deleted; ``data`` goes in byte for byte."""
    return b'{"jsonapi":{"version":"1.1"},"data":%b}' % resource(item, base_url)


def render_page(
    resources: Sequence[bytes],
    cursors: Mapping[str, str | None],
    links: Mapping[str, str | None] | None,
    total: Mapping[str, int],
    profiled: bool,
) -> bytes:
    """A list of resource objects; ``links`` None where no URL leads to the other pages.

    ``total`` is empty, or the count by how it was counted; ``profiled`` whether the document is
    one of the cursor pagination profile.
    """
    page: dict[str, Any] = {f"{relation}_cursor": cursor for relation, cursor in cursors.items()}
    if "exact" in total:
        page["total"] = total["exact"]
    if "estimated" in total:
        page["estimatedTotal"] = {"bestGuess": total["estimated"]}
    around = {"meta": {"page": page}} | ({} if links is None else {"links": links})
    return b'{"jsonapi":%b,"data":[%b],%b' % (
        orjson.dumps(_implementation(profiled)),
        b",".join(resources),
        orjson.dumps(around)[1:],
    )


def resource(item: Item, base_url: str, tag: str | None = None) -> bytes:
    """The resource object alone. ``base_url`` goes before the path of its link.

    ``tag`` is the entity tag, where no header field tells it.
    """
    assert item.data is not None
    item_id = native.format_id(item.id)
    meta: dict[str, str | int] = {
        "owner_id": item.owner_id,
        "version": item.version,
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.updated_at),
    }
    if tag is not None:
        meta["etag"] = tag
    return b'{"type":"%b","id":"%b","attributes":%b,"links":{"self":%b},"meta":%b}' % (
        _TYPE,
        item_id.encode(),
        item.data,
        orjson.dumps(base_url + ITEMS.path(2, item_id)),
        orjson.dumps(meta),
    )


def parse_body(body: bytes, item_id: bytes | None) -> bytes:
    """The JSON text of ``attributes`` in a POST (``item_id`` None) or PUT body.

    Raises InvalidSyntax, InvalidContent, ResourceMismatch, ClientIdForbidden.
    """
    members = _resource_members(body)
    _check_identity(members, item_id, id_needed=False)
    attributes = members.get("attributes")
    if attributes is None:
        place = Place("is missing", pointer="/data/attributes")
        raise InvalidContent("The resource has no attributes.", place)
    return attributes


def parse_update(body: bytes, item_id: bytes) -> bytes:
    """The same of a PATCH body, where attributes that are left out keep their values."""
    members = _resource_members(body)
    _check_identity(members, item_id, id_needed=True)
    return members.get("attributes", b"{}")


def updated(item: Item, attributes: bytes, max_bytes: int) -> bytes:
    """The item's data with these members replaced. Raises PatchResultInvalid."""
    assert item.data is not None
    return apply_members(item.data, attributes, max_bytes)


def patched(
    item: Item, patch: bytes, apply: Callable[..., bytes], max_bytes: int, base_url: str
) -> bytes:
    """The JSON text of the data after ``apply`` changed the item's whole document.

    As in version 1, but paths begin with ``/data/attributes``.
    """
    whole = render(item, base_url)
    assert item.data is not None
    text = apply(
        whole,
        patch,
        max_bytes=max_bytes + len(whole) - len(item.data) - len(_ENVELOPE),
        max_depth=PATCH_MAX_DEPTH,
    )
    before, after = value_of(whole), value_of(text)
    changed = _changed(before, after)
    if changed:
        raise PatchResultInvalid("A patch can change the attributes only.", *changed)
    document = native.scan_envelope(text, ["jsonapi", "data"], DATA_MAX_DEPTH + 1)
    members = document if isinstance(document, list) else _members(document["data"])
    if isinstance(members, list):
        raise PatchResultInvalid("The patched item is not valid.", *places_of(members))
    attributes = members.get("attributes", b"")
    if not attributes.startswith(b"{"):
        place = Place("is not an object", pointer="/data/attributes")
        raise PatchResultInvalid("The patched item is not valid.", place)
    return attributes


def error_document(
    error: HotshelfError, status: int, title: str, request: Mapping[str, str]
) -> bytes:
    """The error as JSON:API error objects, one for each place; ``request`` is how to find it."""
    known: dict[str, Any] = {"status": str(status), "code": error.code, "title": title}
    if error.extra:
        known["meta"] = error.extra
    objects = [_error_object(known, error, place) for place in error.places]
    document: dict[str, Any] = {
        "jsonapi": _implementation(is_profiled(error)),
        "errors": objects or [known | {"detail": error.detail}],
    }
    if request:
        document["meta"] = request
    return orjson.dumps(document)


def is_profiled(error: HotshelfError) -> bool:
    """Whether its document holds what the cursor pagination profile says of errors."""
    return any(place.rule for place in error.places)


def _implementation(profiled: bool) -> dict[str, Any]:
    return VERSION | ({"profile": [cursor_profile.URL]} if profiled else {})


def _error_object(known: Mapping[str, Any], error: HotshelfError, place: Place) -> dict[str, Any]:
    more = cursor_profile.error_members(place, MAX_LIMIT)
    if "meta" in more:
        more["meta"] |= known.get("meta", {})
    return {**known, "detail": _detail(error, place), "source": _source(place), **more}


def _detail(error: HotshelfError, place: Place) -> str:
    return f"{error.detail.rstrip('.')}: {place.detail.rstrip('.')}."


def _source(place: Place) -> dict[str, str]:
    named = {"pointer": place.pointer, "parameter": place.parameter, "header": place.header}
    return {name: value for name, value in named.items() if value is not None}


def _resource_members(body: bytes) -> Mapping[str, bytes]:
    """The raw members of the resource that a document holds, naming every wrong place."""
    document = native.scan_envelope(body, _DOCUMENT, DATA_MAX_DEPTH + 1)
    if isinstance(document, list):
        raise problem_of(document)
    resource_text = document.get("data")
    if resource_text is None:
        raise InvalidContent("The body has no data.", Place("is missing", pointer="/data"))
    if not resource_text.startswith(b"{"):
        place = Place("is not a resource object", pointer="/data")
        raise InvalidContent("Data must be a resource object.", place)
    members = _members(resource_text)
    if isinstance(members, list):
        raise _problem(members)
    wrong = [
        Place("is not an object", pointer=f"/data/{name}")
        for name in ("attributes", "links", "meta", "relationships")
        if not members.get(name, b"{").startswith(b"{")
    ]
    if value_of(members.get("relationships", b"{}")):
        wrong.append(Place("an item has none", pointer="/data/relationships"))
    if wrong:
        raise InvalidContent("The resource object is not that of an item.", *wrong)
    return members


def _members(resource_text: bytes) -> dict[str, bytes] | list[native.ScanProblem]:
    return native.scan_envelope(resource_text, _RESOURCE, DATA_MAX_DEPTH)


def _problem(found: Sequence[native.ScanProblem]) -> InvalidSyntax | InvalidContent:
    """What is wrong one level down. Lines and columns would be those of the part alone."""
    places = [Place(p.detail, pointer=f"/data{p.pointer}") for p in found]
    if any(p.rule == "duplicate-member" for p in found):
        return InvalidSyntax("The resource object holds a member twice.", *places)
    return InvalidContent("The resource object is not that of an item.", *places)


def _check_identity(members: Mapping[str, bytes], item_id: bytes | None, id_needed: bool) -> None:
    """JSON:API 1.1, "Creating Resources" (403, 409) and "Updating Resources" (409)."""
    needed = ("type", "id") if id_needed else ("type",)
    missing = [Place("is missing", pointer=f"/data/{n}") for n in needed if n not in members]
    if missing:
        raise InvalidContent("The resource object does not say which it is.", *missing)
    if value_of(members["type"]) != ITEMS.json_api_type:
        place = Place(f"is not {ITEMS.json_api_type}", pointer="/data/type")
        raise ResourceMismatch("The resource is of another type.", place)
    if "id" not in members:
        return
    if item_id is None:
        place = Place("is for the service to choose", pointer="/data/id")
        raise ClientIdForbidden("To choose an item's id, create it with PUT.", place)
    sent = value_of(members["id"])
    if not isinstance(sent, str) or native.parse_id(sent) != item_id:
        place = Place("is not the id in the URL", pointer="/data/id")
        raise ResourceMismatch("The resource is not the one at this URL.", place)


def _changed(before: Any, after: Any) -> list[Place]:
    """What else than the attributes a patch would change."""
    wrong = [
        Place("cannot be changed", pointer=f"/{name}")
        for name in (*before, *after)
        if name != "data" and before.get(name) != after.get(name)
    ]
    old, new = before["data"], after.get("data")
    if not isinstance(new, dict):
        return [*wrong, Place("cannot be changed", pointer="/data")]
    names = dict.fromkeys((*_FIXED, *(n for n in new if n != "attributes")))
    return wrong + [
        Place("cannot be changed", pointer=f"/data/{name}")
        for name in names
        if old.get(name) != new.get(name)
    ]
