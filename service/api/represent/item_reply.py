"""Answers with an item: body, entity tag, and fields for caches and clients."""

from collections.abc import Sequence

from service import native
from service.access.credential_kinds import HEADERS
from service.api.headers.content_codings import encode
from service.api.headers.media_types import Representation
from service.api.public_url import PublicUrl
from service.api.represent import v2
from service.api.represent.fields import select, tag_suffix
from service.api.request import Reply
from service.items.coherence import Prepared, Stored
from service.model.entity_tag import NO_TAGS, TagCondition, Tagged, entity_tag
from service.model.item import Item
from service.model.item_json import id_of, render
from service.model.resource import ITEMS

# Representations kept per item, of about thirty possible ones. The near cache budgets two per large
# body, so more would make a worker exceed its setting.
_MAX_PREPARED = 4

VARY = ", ".join(("Accept", "Accept-Encoding", *HEADERS))


class ItemReplies:
    """Makes answers under the installation's settings."""

    def __init__(
        self,
        cache_control: str,
        public_url: PublicUrl,
        cors: bool = False,
        deprecation: Sequence[tuple[str, str]] = (),
    ) -> None:
        """``cors``: answers vary by Origin, even those to requests without one.

        ``deprecation`` are fields of version 1 only.
        """
        vary = f"{VARY}, Origin" if cors else VARY
        headers = [("cache-control", cache_control), ("vary", vary)]
        self._headers = {1: [*headers, *deprecation], 2: headers}
        self.public_url = public_url

    def of_stored(
        self, stored: Stored, wanted: Representation, coding: str, known: TagCondition
    ) -> Reply:
        """The item in this representation, or 304 if the client has it.

        A representation is made once as long as this worker keeps the item, up to a number of them.
        Links begin with ``http.public_url``.
        """
        prepared = stored.representations.get((wanted, coding))
        if prepared is None:
            if len(stored.representations) >= _MAX_PREPARED:
                stored.representations.clear()
            prepared = self._prepared(stored, wanted, coding, self.public_url.setting)
            stored.representations[wanted, coding] = prepared
        if known is not NO_TAGS and known.matches_weakly(stored.entry):
            return Reply(304, prepared.validators)
        return Reply(200, prepared.headers, prepared.body)

    def of_stored_at(
        self,
        stored: Stored,
        wanted: Representation,
        coding: str,
        known: TagCondition,
        base_url: str,
    ) -> Reply:
        """The same with links that begin with ``base_url``."""
        if wanted.version == 1 or base_url == self.public_url.setting:
            return self.of_stored(stored, wanted, coding, known)
        # Not kept, because otherwise X-Forwarded-Host could be used to fill an item's memory.
        prepared = self._prepared(stored, wanted, coding, base_url)
        if known.matches_weakly(stored.entry):
            return Reply(304, prepared.validators)
        return Reply(200, prepared.headers, prepared.body)

    def whole(self, item: Item, wanted: Representation, base_url: str, status: int = 200) -> Reply:
        """An item that was just written; with Location if ``status`` is 201."""
        headers = [
            ("content-type", wanted.media_type),
            *self._validators(item, wanted),
        ]
        if status == 201:
            name = native.format_id(item.id)
            headers.append(("location", base_url + ITEMS.path(wanted.version, name)))
        return Reply(status, headers, _body(item, wanted, base_url))

    def selected(
        self, item: Item, wanted: Representation, fields: frozenset[str], base_url: str
    ) -> Reply:
        """The item with only these members of its data."""
        assert item.data is not None
        validators = self._validators(item, wanted, tag_suffix(fields))
        headers = [("content-type", wanted.media_type), *validators]
        shown = item._replace(data=select(item.data, fields))
        return Reply(200, headers, _body(shown, wanted, base_url))

    def changed(
        self, item: Item, wanted: Representation, base_url: str, status: int, minimal: bool
    ) -> Reply:
        """The item after a write; ``Prefer: return=minimal`` drops the body (RFC 7240 4.2)."""
        reply = self.whole(item, wanted, base_url, status)
        if not minimal:
            return reply
        headers = [(n, v) for n, v in reply.headers if n != "content-type"]
        headers.append(("preference-applied", "return=minimal"))
        return Reply(201 if status == 201 else 204, headers)

    def not_modified(self, item: Tagged, wanted: Representation, fields: frozenset[str]) -> Reply:
        """304: the headers of the 200 answer that caches need (RFC 9110 section 15.4.5)."""
        return Reply(304, self._validators(item, wanted, tag_suffix(fields)))

    def _prepared(
        self, stored: Stored, wanted: Representation, coding: str, base_url: str
    ) -> Prepared:
        entry = stored.entry
        body = entry.body
        if wanted.version == 2:
            body = _body(entry.item(id_of(body)), wanted, base_url)
        coded = encode(body, coding)
        validators = self._validators(entry, wanted, "" if coded is None else f"-{coding}")
        headers = [("content-type", wanted.media_type), *validators]
        if coded is not None:
            headers.append(("content-encoding", coding))
        return Prepared(validators, headers, body if coded is None else coded)

    def _validators(
        self, item: Tagged, wanted: Representation, suffix: str = ""
    ) -> list[tuple[str, str]]:
        tag = entity_tag(item, wanted.tag_suffix + suffix)
        return [("etag", tag), *self._headers[wanted.version]]


def _body(item: Item, wanted: Representation, base_url: str) -> bytes:
    return render(item) if wanted.version == 1 else v2.render(item, base_url)
