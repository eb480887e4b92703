"""Version 1 of the representation: an envelope around the item's own JSON text."""

from collections.abc import Mapping, Sequence

import orjson

from service import native
from service.model.errors import InvalidContent, Location, PatchResultInvalid
from service.model.item import Item
from service.model.item_json import DATA_MAX_DEPTH, MEMBERS, render
from service.model.json_patch import Patch
from service.model.json_text import locations_of, problem_of

MEDIA_TYPE = "application/json"
# The envelope is one level above the data.
PATCH_MAX_DEPTH = DATA_MAX_DEPTH + 1
_ENVELOPE = ["data"]


def render_entry(item: Item, tag: str) -> bytes:
    """The body as an entry of a list, with its entity tag."""
    return b'%b,"etag":%b}' % (render(item)[:-1], orjson.dumps(tag))


def render_page(
    entries: Sequence[bytes], cursors: Mapping[str, str | None], total: int | None
) -> bytes:
    """A page: its entries, the cursors by relation, and the total if there is one."""
    around = {f"{relation}_cursor": cursor for relation, cursor in cursors.items()}
    counted = {} if total is None else {"total": total}
    return b'{"items":[%b],%b' % (b",".join(entries), orjson.dumps(around | counted)[1:])


def parse_body(body: bytes) -> bytes:
    """The JSON text of ``data`` in a POST or PUT body, every number digit for digit.

    Raises InvalidSyntax or InvalidContent, naming every location.
    """
    found = native.scan_envelope(body, _ENVELOPE)
    if isinstance(found, list):
        raise problem_of(found)
    data = found.get("data")
    if data is None:
        raise InvalidContent("The body has no data.", Location("is missing", pointer="/data"))
    if not data.startswith(b"{"):
        raise InvalidContent(
            "Data must be an object.", Location("is not an object", pointer="/data")
        )
    return data


def patched(item: Item, patch: Patch, max_bytes: int) -> bytes:
    """The JSON text of ``data`` after a patch of the item's whole representation.

    A patch applies to the whole representation (RFC 5789 section 2): paths begin with ``/data``,
    and a test may refer to the other members, which cannot be changed. ``max_bytes`` is the limit
    of the result, that of a PUT's body. Raises PatchResultInvalid and what the patch raises.
    """
    whole = render(item)
    assert item.data is not None
    max_bytes += len(whole) - len(item.data) - len(b'{"data":}')
    before = native.scan_envelope(whole, MEMBERS)
    text = patch.apply(whole, max_bytes, PATCH_MAX_DEPTH)
    after = native.scan_envelope(text, MEMBERS)
    assert isinstance(before, dict)
    if isinstance(after, list):
        raise PatchResultInvalid("The patched item is not valid.", *locations_of(after))
    fixed = [
        Location("cannot be changed", pointer=f"/{name}")
        for name in MEMBERS
        if name != "data" and _value(after, name) != _value(before, name)
    ]
    if fixed:
        raise PatchResultInvalid("A patch can change only the data.", *fixed)
    data = after.get("data", b"")
    if not data.startswith(b"{"):
        location = Location("is not an object", pointer="/data")
        raise PatchResultInvalid("The patched item is not valid.", location)
    return data


def _value(members: Mapping[str, bytes], name: str) -> object:
    return orjson.loads(members[name]) if name in members else None
