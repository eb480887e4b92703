"""Patches of version 2: they apply to the whole document but may change only the attributes."""

from typing import Any

from service import native
from service.api.represent.v2 import render
from service.api.represent.v2_body import resource_members
from service.model.errors import Location, PatchResultInvalid
from service.model.item import Item
from service.model.item_json import DATA_MAX_DEPTH
from service.model.json_patch import Patch, apply_members
from service.model.json_text import locations_of, value_of
from service.model.resource import Resource

# The document and the resource object are two levels above the attributes.
PATCH_MAX_DEPTH = DATA_MAX_DEPTH + 2
_ENVELOPE = b'{"data":{"type":"","attributes":}}'
_FIXED = ("type", "id", "links", "meta")


def updated(item: Item, attributes: bytes, max_bytes: int) -> bytes:
    """The item's data with these members replaced. Raises PatchResultInvalid."""
    assert item.data is not None
    return apply_members(item.data, attributes, max_bytes)


def patched(item: Item, patch: Patch, max_bytes: int, base_url: str, kind: Resource) -> bytes:
    """The JSON text of the data after a patch of the item's whole document.

    As in version 1, but paths begin with ``/data/attributes``. Raises PatchResultInvalid, and what
    ``Patch.apply`` raises.
    """
    whole = render(item, base_url, kind)
    assert item.data is not None
    max_bytes += len(whole) - len(item.data) - len(_ENVELOPE) - len(kind.json_api_type)
    text = patch.apply(whole, max_bytes, PATCH_MAX_DEPTH)
    before, after = value_of(whole), value_of(text)
    changed = _changed(before, after)
    if changed:
        raise PatchResultInvalid("A patch can change only the attributes.", *changed)
    document = native.scan_envelope(text, ["jsonapi", "data"], DATA_MAX_DEPTH + 1)
    members = document if isinstance(document, list) else resource_members(document["data"])
    if isinstance(members, list):
        raise PatchResultInvalid("The patched item is not valid.", *locations_of(members))
    attributes = members.get("attributes", b"")
    if not attributes.startswith(b"{"):
        location = Location("is not an object", pointer="/data/attributes")
        raise PatchResultInvalid("The patched item is not valid.", location)
    return attributes


def _changed(before: Any, after: Any) -> list[Location]:
    """The members other than the attributes that a patch would change."""
    wrong = [
        Location("cannot be changed", pointer=f"/{name}")
        for name in (*before, *after)
        if name != "data" and before.get(name) != after.get(name)
    ]
    old, new = before["data"], after.get("data")
    if not isinstance(new, dict):
        return [*wrong, Location("cannot be changed", pointer="/data")]
    names = dict.fromkeys((*_FIXED, *(n for n in new if n != "attributes")))
    return wrong + [
        Location("cannot be changed", pointer=f"/data/{name}")
        for name in names
        if old.get(name) != new.get(name)
    ]
