"""A cache of header sections that many requests share, with their parsed fields."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from service import native
from service.access.peer import FORWARDED_URL
from service.api.headers.content_codings import coding_for
from service.api.headers.media_types import Representation, negotiate
from service.api.request import Headers
from service.model.entity_tag import NO_TAGS, TagCondition, parse_tag_condition

# Fields that a plain GET of one item does not need.
_SPECIAL: Final = frozenset(
    {
        "content-length",
        "expect",
        "if-match",
        "origin",
        "prefer",
        "traceparent",
        "transfer-encoding",
        "x-request-id",
    }
)
# Keeps the cache below 8 MB.
_MAX_SECTIONS, _MAX_CHARACTERS, _MAX_FIELDS = 2048, 4096, 99


class ParsedFields(NamedTuple):
    """The representation that the fields select, and the tags that the client has."""

    wanted: Representation
    coding: str
    known: TagCondition


def credentials(section: native.Section) -> Mapping[str, str]:
    """The fields that tell who the caller is."""
    if section.token:
        return {"authorization": f"Bearer {section.token}"}
    return section.fields


class Sections(native.SectionTable):
    """One worker's cache of header sections, by their lines from Granian."""

    __slots__ = ()

    def of(self, headers: Headers) -> native.Section | None:
        """The section, unparsed if it is new.

        None if it is long or has more than ASCII and the fields of a plain GET of an item.
        """
        lines = headers.items()
        # Unequal if a field is not ASCII, because Granian leaves it out of the items.
        if len(headers) != len(lines):
            return None
        found = self.find(lines)
        if found is not None:
            return found
        # Only this is copied and nothing is parsed, because the caller is not known yet.
        if sum(len(name) + len(value) for name, value in lines) > _MAX_CHARACTERS:
            return None
        fields = dict(lines)
        is_plain = len(fields) == len(lines) <= _MAX_FIELDS and _SPECIAL.isdisjoint(fields)
        return _unparsed(fields) if is_plain and "host" in fields else None

    def parse(self, headers: Headers, section: native.Section) -> ParsedFields | None:
        """Set ``parsed``, and cache the section if other requests are likely to have the same.

        None where it has to be refused, or where links may have to begin as a proxy says.
        """
        field = section.fields.get
        tags = field("if-none-match", "")
        section.parsed = _parsed(field("accept", ""), field("accept-encoding", ""), tags)
        if section.parsed is None:
            return None
        if section.parsed.wanted.version > 1 and not FORWARDED_URL.isdisjoint(section.fields):
            return None
        # Not cached with tags, because a tag belongs to one version of one item.
        if not tags:
            self._cache(headers, section)
        return section.parsed

    def _cache(self, headers: Headers, section: native.Section) -> None:
        if len(self) >= _MAX_SECTIONS:
            self.clear()
        if section.token:
            section.fields = {}  # because the key has the same text
        self.keep(headers.items(), section)


def _unparsed(fields: Mapping[str, str]) -> native.Section:
    authorization = fields.get("authorization", "")
    is_alone = authorization.startswith("Bearer ") and "x-api-key" not in fields
    return native.Section(fields, authorization[7:] if is_alone else "")


# Few, because every version of every item has its own tag.
@lru_cache(maxsize=256)
def _parsed(accept: str, accept_encoding: str, if_none_match: str) -> ParsedFields | None:
    wanted, coding = negotiate(accept), coding_for(accept_encoding)
    if wanted is None or coding is None:
        return None
    try:
        known = parse_tag_condition(if_none_match) if if_none_match else NO_TAGS
    except ValueError:
        return None
    return ParsedFields(wanted, coding, known)
