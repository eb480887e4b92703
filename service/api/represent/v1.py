"""Version 1 of the representation: an envelope around the item's own JSON text."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import orjson

from service import native
from service.model.errors import InvalidContent, PatchResultInvalid, Place
from service.model.item import Item
from service.model.json_text import places_of, problem_of

MEDIA_TYPE = "application/json"
MAX_DEPTH = 64
# The envelope is one level above the data.
PATCH_MAX_DEPTH = MAX_DEPTH + 1
_ENVELOPE = ["data"]
_MEMBERS = ["id", "owner_id", "version", "created_at", "updated_at", "data"]


def render(item: Item) -> bytes:
    """The body for an item that is not deleted; ``data`` goes in byte for byte."""
    assert item.data is not None
    created_at = timestamp(item.created_at).encode()
    is_new = item.updated_at is item.created_at
    return (
        b'{"id":"%b","owner_id":%b,"version":%d,"created_at":"%b","updated_at":"%b","data":%b}'
        % (
            native.format_id(item.id).encode(),
            orjson.dumps(item.owner_id),
            item.version,
            created_at,
            created_at if is_new else timestamp(item.updated_at).encode(),
            item.data,
        )
    )


def render_entry(item: Item, tag: str) -> bytes:
    """The body as one of a list, which names its entity tag too."""
    return b'%b,"etag":%b}' % (render(item)[:-1], orjson.dumps(tag))


def render_page(
    entries: Sequence[bytes], cursors: Mapping[str, str | None], total: int | None
) -> bytes:
    """A list: its entries, the cursors by their relation, and the total where there is one."""
    around = {f"{relation}_cursor": cursor for relation, cursor in cursors.items()}
    counted = {} if total is None else {"total": total}
    return b'{"items":[%b],%b' % (b",".join(entries), orjson.dumps(around | counted)[1:])


def id_of(body: bytes) -> bytes:
    """The item's 16 bytes, from a body that ``render`` made."""
    item_id = native.parse_id(body[7:33].decode())
    assert item_id is not None
    return item_id


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, always with microseconds."""
    if not moment.microsecond:
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    # In a sixth of the time, but it leaves out a fraction of nothing.
    return orjson.dumps(moment, option=orjson.OPT_UTC_Z)[1:-1].decode()


def parse_body(body: bytes) -> bytes:
    """The JSON text of ``data`` in a POST or PUT body, every number digit for digit.

    Raises InvalidSyntax or InvalidContent, naming every place.
    """
    found = native.scan_envelope(body, _ENVELOPE)
    if isinstance(found, list):
        raise problem_of(found)
    data = found.get("data")
    if data is None:
        raise InvalidContent("The body has no data.", Place("is missing", pointer="/data"))
    if not data.startswith(b"{"):
        raise InvalidContent("Data must be an object.", Place("is not an object", pointer="/data"))
    return data


def patched(item: Item, patch: bytes, apply: Callable[..., bytes], max_bytes: int) -> bytes:
    """The JSON text of ``data`` after ``apply`` changed the item's whole representation.

    That is what a patch is of (RFC 5789 section 2): paths begin with ``/data``, and a test may
    look at the other members, which cannot be changed. The result may be as large as the body of
    a PUT, which is ``max_bytes``. Raises PatchResultInvalid and what ``apply`` raises.
    """
    whole = render(item)
    assert item.data is not None
    max_bytes += len(whole) - len(item.data) - len(b'{"data":}')
    before = native.scan_envelope(whole, _MEMBERS)
    text = apply(whole, patch, max_bytes=max_bytes, max_depth=PATCH_MAX_DEPTH)
    after = native.scan_envelope(text, _MEMBERS)
    assert isinstance(before, dict)
    if isinstance(after, list):
        raise PatchResultInvalid("The patched item is not valid.", *places_of(after))
    fixed = [
        Place("cannot be changed", pointer=f"/{name}")
        for name in _MEMBERS
        if name != "data" and _value(after, name) != _value(before, name)
    ]
    if fixed:
        raise PatchResultInvalid("A patch can change the data only.", *fixed)
    data = after.get("data", b"")
    if not data.startswith(b"{"):
        place = Place("is not an object", pointer="/data")
        raise PatchResultInvalid("The patched item is not valid.", place)
    return data


def _value(members: Mapping[str, bytes], name: str) -> object:
    return orjson.loads(members[name]) if name in members else None
