"""Header sections that many requests share, remembered with their parsed fields."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from service.access.peer import FORWARDED_URL
from service.api.headers.content_codings import coding_for
from service.api.headers.media_types import Representation, negotiate
from service.model.entity_tag import NO_TAGS, TagCondition, parse_tag_condition

Lines = tuple[tuple[str, str], ...]

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
# What is remembered stays below 8 MB.
_MAX_SECTIONS, _MAX_CHARACTERS, _MAX_FIELDS = 2048, 4096, 99


class ParsedFields(NamedTuple):
    """What the fields ask for, and which tags the client has."""

    wanted: Representation
    coding: str
    known: TagCondition


class Section:
    """A header section. ``parsed`` None: not yet, because only known callers may cause that work.

    ``token`` is the bearer token, or empty where it takes more of ``fields`` to know the caller.
    """

    __slots__ = ("fields", "parsed", "token")

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = fields
        credentials = fields.get("authorization", "")
        is_alone = credentials.startswith("Bearer ") and "x-api-key" not in fields
        self.token = credentials[7:] if is_alone else ""
        self.parsed: ParsedFields | None = None


class Sections(dict[Lines, Section | None]):
    """One worker's memory of header sections, by their lines as Granian has them.

    ``sections[lines]`` of what is not remembered is not parsed; None where it is long, or holds
    more than a plain GET of an item needs.
    """

    def __missing__(self, lines: Lines) -> Section | None:
        # No more than this is copied and nothing is parsed, because the caller is not known yet.
        if sum(len(name) + len(value) for name, value in lines) > _MAX_CHARACTERS:
            return None
        fields = dict(lines)
        is_plain = len(fields) == len(lines) <= _MAX_FIELDS and _SPECIAL.isdisjoint(fields)
        return Section(fields) if is_plain and "host" in fields else None

    def parse(self, lines: Lines, section: Section) -> ParsedFields | None:
        """Set ``parsed``, and remember a section that other requests are likely to bring.

        None where it has to be refused, or where links may have to begin as a proxy says.
        """
        field = section.fields.get
        tags = field("if-none-match", "")
        section.parsed = _parsed(field("accept", ""), field("accept-encoding", ""), tags)
        if section.parsed is None:
            return None
        if section.parsed.wanted.version > 1 and not FORWARDED_URL.isdisjoint(section.fields):
            return None
        # Tags are of one version of one item, so that hardly another request has the same.
        if not tags:
            if len(self) >= _MAX_SECTIONS:
                self.clear()
            self[lines] = section
        return section.parsed


# Few, because every version of every item has a tag of its own.
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
