"""An item as an answer: body, entity tag, and the fields that caches and clients go by."""

from collections.abc import Sequence

from service import native
from service.access.credential_kinds import HEADERS
from service.api.headers.content_codings import encode
from service.api.headers.media_types import Representation
from service.api.represent import v2
from service.api.represent.fields import select, tag_suffix
from service.api.request import Reply
from service.items.coherence import Prepared, Stored
from service.model.entity_tag import NO_TAGS, TagCondition, Tagged, entity_tag
from service.model.item import Item
from service.model.item_json import id_of, render
from service.model.resource import ITEMS, Resource

# Representations kept per item, of some thirty that can be asked for: the near cache budgets two
# per large body, so that more would make a worker larger than its setting says.
_MAX_PREPARED = 4

VARY = ", ".join(("Accept", "Accept-Encoding", *HEADERS))
_SHARED = "public, max-age=0, s-maxage={}"


class ItemReplies:
    """Makes answers under the installation's settings."""

    def __init__(
        self,
        cache_control: str,
        public_url: str,
        cors: bool = False,
        deprecation: Sequence[tuple[str, str]] = (),
        shared_max_age_s: int = 60,
    ) -> None:
        """``cors``: answers depend on Origin too, also those to requests without one.

        ``deprecation`` are fields of version 1 alone; ``shared_max_age_s`` is how long a shared
        cache may keep what everybody may read.
        """
        self._origin = ", Origin" if cors else ""
        self._cache_control = cache_control
        self._shared_max_age_s = shared_max_age_s
        self._shared = _SHARED.format(shared_max_age_s)
        self._deprecation = {1: deprecation, 2: ()}
        self.base_url = public_url.rstrip("/")

    def headers(self, wanted: Representation) -> list[tuple[str, str]]:
        """What caches go by."""
        vary = f"{wanted.shared_vary or VARY}{self._origin}"
        cache_control = self._shared if wanted.shared_vary else self._cache_control
        return [("cache-control", cache_control), ("vary", vary)]

    def until(self, reply: Reply, left_s: float) -> Reply:
        """An answer that shared caches may keep, but not beyond these seconds."""
        seconds = max(0, min(self._shared_max_age_s, int(left_s)))
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
        """The item in this representation, or that the client has it already (304).

        A representation is made once for as long as this worker keeps the item, if it is one of
        few.
        """
        prepared = stored.representations.get((wanted, coding))
        if prepared is None:
            if len(stored.representations) >= _MAX_PREPARED:
                stored.representations.clear()
            prepared = self._prepared(stored, wanted, coding, kind)
            stored.representations[wanted, coding] = prepared
        if known is not NO_TAGS and known.matches_weakly(stored.entry):
            return Reply(304, prepared.validators)
        return Reply(200, prepared.headers, prepared.body)

    def whole(
        self, item: Item, wanted: Representation, status: int = 200, kind: Resource = ITEMS
    ) -> Reply:
        """An item that was just written; with 201 its Location too."""
        headers = [
            ("content-type", wanted.media_type),
            *self._validators(item, wanted),
        ]
        if status == 201:
            name = native.format_id(item.id)
            headers.append(("location", self.base_url + kind.path(wanted.version, name)))
        return Reply(status, headers, self._body(item, wanted, kind))

    def selected(
        self, item: Item, wanted: Representation, fields: frozenset[str], kind: Resource
    ) -> Reply:
        """The item with only these members of its data."""
        assert item.data is not None
        validators = self._validators(item, wanted, tag_suffix(fields))
        headers = [("content-type", wanted.media_type), *validators]
        shown = item._replace(data=select(item.data, fields))
        return Reply(200, headers, self._body(shown, wanted, kind))

    def changed(
        self, item: Item, wanted: Representation, kind: Resource, status: int, minimal: bool
    ) -> Reply:
        """The item after a write; ``Prefer: return=minimal`` drops the body (RFC 7240 4.2)."""
        reply = self.whole(item, wanted, status, kind)
        if not minimal:
            return reply
        headers = [(n, v) for n, v in reply.headers if n != "content-type"]
        headers.append(("preference-applied", "return=minimal"))
        return Reply(201 if status == 201 else 204, headers)

    def not_modified(self, item: Tagged, wanted: Representation, fields: frozenset[str]) -> Reply:
        """304: the headers of the 200 answer that caches need (RFC 9110 section 15.4.5)."""
        return Reply(304, self._validators(item, wanted, tag_suffix(fields)))

    def _prepared(
        self, stored: Stored, wanted: Representation, coding: str, kind: Resource
    ) -> Prepared:
        entry = stored.entry
        body = entry.body
        if wanted.version == 2:
            body = self._body(entry.item(id_of(body)), wanted, kind)
        coded = encode(body, coding)
        validators = self._validators(entry, wanted, "" if coded is None else f"-{coding}")
        headers = [("content-type", wanted.media_type), *validators]
        if coded is not None:
            headers.append(("content-encoding", coding))
        return Prepared(validators, headers, body if coded is None else coded)

    def _body(self, item: Item, wanted: Representation, kind: Resource) -> bytes:
        return render(item) if wanted.version == 1 else v2.render(item, self.base_url, kind)

    def _validators(
        self, item: Tagged, wanted: Representation, suffix: str = ""
    ) -> list[tuple[str, str]]:
        tag = entity_tag(item, wanted.tag_suffix + suffix)
        return [("etag", tag), *self.headers(wanted), *self._deprecation[wanted.version]]
