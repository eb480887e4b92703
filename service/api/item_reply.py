"""An item as an answer: body, entity tag, and the fields that caches and clients go by."""

from dataclasses import replace

from service import native
from service.api import v1
from service.api.fields import select, tag_suffix
from service.api.request import Reply
from service.model.entity_tag import entity_tag
from service.model.item import Item

VARY = "Accept, Accept-Encoding, Authorization, X-API-Key"


class ItemReplies:
    """Makes answers under the installation's settings."""

    def __init__(self, cache_control: str, public_url: str) -> None:
        self._headers = [("cache-control", cache_control), ("vary", VARY)]
        self._public_url = public_url.rstrip("/")

    def whole(self, item: Item, media_type: str, status: int = 200) -> Reply:
        """The item itself; with 201 its Location too."""
        headers = [("content-type", media_type), *self._validators(item)]
        if status == 201:
            headers.append(("location", f"{self._public_url}/v1/items/{native.format_id(item.id)}"))
        return Reply(status, headers, v1.render(item))

    def selected(self, item: Item, media_type: str, fields: frozenset[str]) -> Reply:
        """The item with only these members of its data."""
        assert item.data is not None
        headers = [("content-type", media_type), *self._validators(item, fields)]
        return Reply(200, headers, v1.render(replace(item, data=select(item.data, fields))))

    def changed(self, item: Item, media_type: str, status: int, minimal: bool) -> Reply:
        """The item after a write; ``Prefer: return=minimal`` drops the body (RFC 7240 4.2)."""
        reply = self.whole(item, media_type, status)
        if not minimal:
            return reply
        headers = [(n, v) for n, v in reply.headers if n != "content-type"]
        headers.append(("preference-applied", "return=minimal"))
        return Reply(201 if status == 201 else 204, headers)

    def not_modified(self, item: Item, fields: frozenset[str] | None = None) -> Reply:
        """304: the headers of the 200 answer that caches need (RFC 9110 section 15.4.5)."""
        return Reply(304, self._validators(item, fields))

    def _validators(
        self, item: Item, fields: frozenset[str] | None = None
    ) -> list[tuple[str, str]]:
        return [("etag", entity_tag(item, tag_suffix(fields))), *self._headers]
