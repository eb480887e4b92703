"""Version 2 of the representation: JSON:API 1.1 documents around the item's own JSON text.

``attributes`` is the item's data as it is; owner, version and times are the resource's ``meta``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service import native
from service.api.represent import cursor_profile
from service.model.item import Item
from service.model.item_json import timestamp
from service.model.resource import Resource

_VERSION = {"version": "1.1"}


def render(item: Item, base_url: str, kind: Resource) -> bytes:
    """The document of an item that is not deleted; ``data`` goes in byte for byte."""
    return b'{"jsonapi":{"version":"1.1"},"data":%b}' % resource(item, base_url, kind)


def render_page(
    resources: Sequence[bytes],
    cursors: Mapping[str, str | None],
    links: Mapping[str, str | None] | None,
    total: Mapping[str, int],
    profiled: bool,
) -> bytes:
    """A page of resource objects; ``links`` None if the other pages have no URL.

    ``total`` is empty or maps the kind of count to the count; ``profiled``: the document follows
    the cursor pagination profile.
    """
    page: dict[str, Any] = {f"{relation}_cursor": cursor for relation, cursor in cursors.items()}
    if "exact" in total:
        page["total"] = total["exact"]
    if "estimated" in total:
        page["estimatedTotal"] = {"bestGuess": total["estimated"]}
    around = {"meta": {"page": page}} | ({} if links is None else {"links": links})
    return b'{"jsonapi":%b,"data":[%b],%b' % (
        orjson.dumps(implementation(profiled)),
        b",".join(resources),
        orjson.dumps(around)[1:],
    )


def resource(item: Item, base_url: str, kind: Resource, tag: str | None = None) -> bytes:
    """The resource object alone. ``base_url`` prefixes the path of its link.

    ``tag`` is the entity tag, if no header field has it.
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
        kind.json_api_type.encode(),
        item_id.encode(),
        item.data,
        orjson.dumps(base_url + kind.path(2, item_id)),
        orjson.dumps(meta),
    )


def implementation(profiled: bool) -> dict[str, Any]:
    """The document's member ``jsonapi``; ``profiled``: it follows the cursor pagination profile."""
    return _VERSION | ({"profile": [cursor_profile.URL]} if profiled else {})
