"""Entity tags and conditional requests (RFC 9110 sections 8.8.3 and 13).

An item's tags are all ``"<version>-<8 hex of content hash><suffix>"``. The suffix distinguishes
stored representations (``.v2`` for the representation, ``.f`` and a hash for a choice of fields,
``-br``, ``-gzip``, ``-zstd`` for the coding), so that each is strong. A condition is met by any
current tag of the item, of any representation.
"""

import re
from dataclasses import dataclass
from typing import Final, Protocol

from service.model.bounds import FIELD_MAX_BYTES, bounded
from service.model.errors import Location, PreconditionFailed

# A tag and the comma or end after it; possessive, so that matching is linear.
_ENTITY_TAG = re.compile(
    r'[ \t,]*+(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e]*+)"[ \t]*+(?:,[ \t,]*+|\Z)'
)
_OURS = re.compile(
    r"([1-9][0-9]{0,18})-([0-9a-f]{8})(?:\.v2)?(?:\.f[0-9a-f]{8})?(?:-(?:br|gzip|zstd))?"
)


class Tagged(Protocol):
    """Anything that has the tag of an item."""

    @property
    def tag(self) -> tuple[int, str]:
        """Version, and 8 hex digits of the content's hash."""
        ...


def entity_tag(item: Tagged, suffix: str = "") -> str:
    """The quoted strong tag of one representation of an item."""
    version, digest = item.tag
    return f'"{version}-{digest}{suffix}"'


@dataclass(frozen=True, slots=True)
class TagCondition:
    """The value of If-Match or If-None-Match: ``*``, or (version, hash) pairs of our tags.

    Tags in a foreign format are valid and match nothing, so they are not kept.
    """

    any: bool
    strong: frozenset[tuple[int, str]]
    weak: frozenset[tuple[int, str]]

    def matches_strongly(self, item: Tagged | None) -> bool:
        """Strong comparison, for If-Match: a weak tag never matches. None: there is no item."""
        return item is not None and (self.any or item.tag in self.strong)

    def matches_weakly(self, item: Tagged | None) -> bool:
        """Weak comparison, for If-None-Match."""
        return item is not None and (self.any or item.tag in self.strong or item.tag in self.weak)


# For a request without the field.
NO_TAGS: Final = TagCondition(False, frozenset(), frozenset())


@bounded(FIELD_MAX_BYTES)
def parse_tag_condition(value: str) -> TagCondition:
    """Read a field value (several lines joined by commas).

    Raises ValueError if it is malformed or longer than FIELD_MAX_BYTES.
    """
    if len(value) > FIELD_MAX_BYTES:
        raise ValueError("the list of entity tags is too long")
    if value.strip(" \t") == "*":
        return TagCondition(True, frozenset(), frozenset())
    strong: set[tuple[int, str]] = set()
    weak: set[tuple[int, str]] = set()
    position = 0
    while position < len(value) or not position:
        match = _ENTITY_TAG.match(value, position)
        if match is None:
            raise ValueError("not a list of entity tags")
        position = match.end()
        ours = _OURS.fullmatch(match["opaque"])
        if ours is not None:
            (weak if match["weak"] else strong).add((int(ours[1]), ours[2]))
    return TagCondition(False, frozenset(strong), frozenset(weak))


def precondition_failed(header: str, current: Tagged | None) -> PreconditionFailed:
    """The error of a failed condition, with the item's state."""
    state: dict[str, str | int]
    state = {} if current is None else {"version": current.tag[0], "etag": entity_tag(current)}
    detail = f"The item is not in a state that {header} allows."
    return PreconditionFailed(detail, Location("does not hold", header=header), extra=state)
