"""The JSON text of an item, as Redis stores, version 1 sends and an export writes it.

Its ``data`` is the stored text byte for byte, so that no number passes through a float.
"""

from datetime import datetime

import orjson

from service import native
from service.model.item import Item

# For the data alone; a member of its object is at depth 1.
DATA_MAX_DEPTH = 64
MEMBERS = ["id", "owner_id", "version", "created_at", "updated_at", "data"]


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


def id_of(body: bytes) -> bytes:
    """The item's 16 bytes, from a body that ``render`` made."""
    item_id = native.parse_id(body[7:33].decode())
    assert item_id is not None
    return item_id


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, always with microseconds."""
    if not moment.microsecond:
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    # A sixth of strftime's time, but isoformat omits a fraction of zero.
    return orjson.dumps(moment, option=orjson.OPT_UTC_Z)[1:-1].decode()
