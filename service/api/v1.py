"""Version 1 of the representation: an envelope around the item's own JSON text."""

from datetime import datetime

import orjson

from service import native
from service.model.errors import InvalidContent, Place
from service.model.item import Item
from service.model.json_text import problem_of

MEDIA_TYPE = "application/json"
_ENVELOPE = ["data"]


def render(item: Item) -> bytes:
    """The body for an item that is not deleted; ``data`` goes in byte for byte."""
    assert item.data is not None
    return (
        b'{"id":"%b","owner_id":%b,"version":%d,"created_at":"%b","updated_at":"%b","data":%b}'
        % (
            native.format_id(item.id).encode(),
            orjson.dumps(item.owner_id),
            item.version,
            timestamp(item.created_at).encode(),
            timestamp(item.updated_at).encode(),
            item.data,
        )
    )


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, always with microseconds."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


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
