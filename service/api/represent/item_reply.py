"""Answers with an item: body, entity tag, and fields for caches and clients."""

from collections.abc import Sequence
from time import time

from service import native
from service.access.credential_kinds import HEADERS
from service.api.headers.content_codings import encode
from service.api.headers.media_types import Representation
from service.api.public_url import PublicUrl
from service.api.represent import v2
from service.api.represent.fields import select, tag_suffix
from service.api.request import Reply
from service.items.coherence import Prepared, Stored
from service.model.collection import Collection
from service.model.entity_tag import NO_TAGS, TagCondition, Tagged, entity_tag
from service.model.item import Item
from service.model.item_json import id_of, render
from service.model.resource import ITEMS, Resource

# Representations kept per item, of about thirty possible ones. The near cache budgets two per large
# body, so more would make a worker exceed its setting.
_MAX_PREPARED = 4

VARY = ", ".join(("Accept", "Accept-Encoding", *HEADERS))
_SHARED = "public, max-age=0, s-maxage={}"


class ItemReplies:
    """Makes answers under the installation's settings."""

    def __init__(
        self,
        cache_control: str,
        public_url: PublicUrl,
        cors: bool = False,
        deprecation: Sequence[tuple[str, str]] = (),
        shared_max_age_s: int = 60,
    ) -> None:
        """``cors``: answers vary by Origin, even those to requests without one.

        ``deprecation`` are fields of version 1 only; ``shared_max_age_s`` is how long a shared
        cache may keep what everybody may read.
        """
        self._origin = ", Origin" if cors else ""
        self._cache_control = cache_control
        self._shared_max_age_s = shared_max_age_s
        self._shared = _SHARED.format(shared_max_age_s)
        self._deprecation = {1: deprecation, 2: ()}
        self.public_url = public_url

    def headers(self, wanted: Representation) -> list[tuple[str, str]]:
        """What caches go by."""
        vary = f"{wanted.shared_vary or VARY}{self._origin}"
        cache_control = self._shared if wanted.shared_vary else self._cache_control
        return [("cache-control", cache_control), ("vary", vary)]

    def until_ended(
        self, reply: Reply, wanted: Representation, collection: Collection, updated_s: float
    ) -> Reply:
        """The answer, which shared caches may keep until the collection's time to live is over.

        ``updated_s`` is when the item was changed, in Unix seconds; 0 for several items.
        """
        ttl_s = collection.definition.ttl_s
        if not wanted.shared_vary or ttl_s is None:
            return reply
        seconds = max(0, min(self._shared_max_age_s, int(updated_s + ttl_s - time())))
        value = _SHARED.format(seconds)
        headers = [(n, value if n == "cache-control" else v) for n, v in reply.headers]
        return Reply(reply.status, headers, reply.body)

    def of_stored(
        self,
        stored: Stored,
        wanted: Representation,
        coding: str,
        known: TagCondition,
        kind: Resource = ITEMS,
    ) -> Reply:
        """The item in this representation, or 304 if the client has it.

        A representation is made once as long as this worker keeps the item, up to a number of them.
        Links begin with ``http.public_url``.
        """
        prepared = stored.representations.get((wanted, coding))
        if prepared is None:
            if len(stored.representations) >= _MAX_PREPARED:
                stored.representations.clear()
            prepared = self._prepared(stored, wanted, coding, self.public_url.setting, kind)
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
        kind: Resource,
    ) -> Reply:
        """The same with links that begin with ``base_url``."""
        if wanted.version == 1 or base_url == self.public_url.setting:
            return self.of_stored(stored, wanted, coding, known, kind)
        # Not kept, because otherwise X-Forwarded-Host could be used to fill an item's memory.
        prepared = self._prepared(stored, wanted, coding, base_url, kind)
        if known.matches_weakly(stored.entry):
            return Reply(304, prepared.validators)
        return Reply(200, prepared.headers, prepared.body)

    def whole(
        self,
        item: Item,
        wanted: Representation,
        base_url: str,
        kind: Resource = ITEMS,
        status: int = 200,
    ) -> Reply:
        """An item that was just written; with Location if ``status`` is 201."""
        headers = [
            ("content-type", wanted.media_type),
            *self._validators(item, wanted),
        ]
        if status == 201:
            name = native.format_id(item.id)
            headers.append(("location", base_url + kind.path(wanted.version, name)))
        return Reply(status, headers, _body(item, wanted, base_url, kind))

    def selected_of(
        self,
        stored: Stored,
        wanted: Representation,
        fields: frozenset[str],
        known: TagCondition,
        base_url: str,
        kind: Resource,
    ) -> Reply:
        """The item with only these members of its data, or 304 if the client has that."""
        entry = stored.entry
        validators = self._validators(entry, wanted, tag_suffix(fields))
        if known.matches_weakly(entry):
            return Reply(304, validators)
        headers = [("content-type", wanted.media_type), *validators]
        shown = entry.item(id_of(entry.body))._replace(data=select(entry.data, fields))
        return Reply(200, headers, _body(shown, wanted, base_url, kind))

    def changed(
        self,
        item: Item,
        wanted: Representation,
        base_url: str,
        kind: Resource,
        status: int,
        minimal: bool,
    ) -> Reply:
        """The item after a write; ``Prefer: return=minimal`` drops the body (RFC 7240 4.2)."""
        reply = self.whole(item, wanted, base_url, kind, status)
        if not minimal:
            return reply
        headers = [(n, v) for n, v in reply.headers if n != "content-type"]
        headers.append(("preference-applied", "return=minimal"))
        return Reply(201 if status == 201 else 204, headers)

    def _prepared(
        self, stored: Stored, wanted: Representation, coding: str, base_url: str, kind: Resource
    ) -> Prepared:
        entry = stored.entry
        body = entry.body
        if wanted.version == 2:
            body = _body(entry.item(id_of(body)), wanted, base_url, kind)
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
        return [("etag", tag), *self.headers(wanted), *self._deprecation[wanted.version]]


def _body(item: Item, wanted: Representation, base_url: str, kind: Resource) -> bytes:
    return render(item) if wanted.version == 1 else v2.render(item, base_url, kind)
