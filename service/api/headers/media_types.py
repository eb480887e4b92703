"""Content-Type and Accept: representations of requests and answers (RFC 9110 8.3, 12.5.1).

Version 2 is a JSON:API 1.1 document. Under that standard's media type its rules apply: no
parameters except ``ext`` and ``profile``, and no unsupported extension.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from service.api.headers.header_lists import is_short, list_field, members, parameters, weight
from service.api.request import RequestContext
from service.model.bounds import FIELD_MAX_BYTES, bounded
from service.model.errors import Location, NotAcceptable, UnsupportedMediaType
from service.model.resource import url_version

JSON = "application/json"
V1 = "application/vnd.api.v1+json"
V2 = "application/vnd.api.v2+json"
JSON_API = "application/vnd.api+json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_ITEM_TYPES = (JSON, V1, V2, JSON_API)
PATCH_TYPES = (MERGE_PATCH, JSON_PATCH, V2, JSON_API)
_VERSION_OF = {V1: 1, V2: 2, JSON_API: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Representation:
    """A representation of items; compared by identity, so that it is a fast dict key."""

    version: int
    media_type: str
    # The Vary of answers that shared caches may keep; empty for others.
    shared_vary: str = ""

    @property
    def tag_suffix(self) -> str:
        """The suffix of entity tags of this version's representations."""
        return "" if self.version == 1 else ".v2"


class Sent(NamedTuple):
    """The media type of a body, without parameters, and the version of its format."""

    media_type: str
    version: int


_JSON_1, _VENDOR_1 = Representation(1, JSON), Representation(1, V1)
_VENDOR_2, _JSON_API, _JSON_2 = (Representation(2, name) for name in (V2, JSON_API, JSON))
# Representations under a URL of each version, the default first.
OFFERED: Final = {
    1: (_JSON_1, _VENDOR_1, _VENDOR_2, _JSON_API),
    2: (_JSON_API, _VENDOR_2, _JSON_2, _VENDOR_1),
}


# Of collections that everybody may read. Where the URL names the version, it alone decides, because
# a cache that many share does without Vary: Accept then.
_BY_URL = {
    version: Representation(version, offered[0].media_type, "Accept-Encoding")
    for version, offered in OFFERED.items()
}
_NEGOTIATED = {
    each: Representation(each.version, each.media_type, "Accept, Accept-Encoding")
    for offered in OFFERED.values()
    for each in offered
}


def readable(context: RequestContext) -> Representation:
    """The representation to answer a read with. Raises NotAcceptable, HeaderTooLarge."""
    if not context.collection.is_public:
        return check_accept(context)
    if context.path.startswith(("/v1/", "/v2/")):
        return _BY_URL[url_version(context.path)]
    return _NEGOTIATED[check_accept(context)]


def check_accept(context: RequestContext) -> Representation:
    """The representation to answer with. Raises NotAcceptable, HeaderTooLarge."""
    chosen = negotiate(list_field(context.headers, "accept") or "", url_version(context.path))
    if chosen is None:
        offered = OFFERED[url_version(context.path)]
        raise NotAcceptable(
            "None of the accepted media types is offered here.",
            Location("names no offered type", header="accept"),
            extra={"available": ", ".join(each.media_type for each in offered)},
        )
    return chosen


def preferred(context: RequestContext) -> Representation:
    """The same for errors, which are sent even if nothing is acceptable."""
    version = url_version(context.path)
    lines = context.headers.get("accept", ())
    short = sum(map(len, lines)) <= FIELD_MAX_BYTES
    return (negotiate(", ".join(lines), version) if short else None) or OFFERED[version][0]


def check_item_body(context: RequestContext) -> Sent:
    """Only JSON in UTF-8 is accepted, so that no plain HTML form of another site can write.

    Raises UnsupportedMediaType.
    """
    detail = "Send an item as application/json in UTF-8, or as a media type of a version."
    return _sent(context, _ITEM_TYPES, detail, "accept")


def check_batch_body(context: RequestContext) -> Sent:
    """The same for a batch, which has one format in both versions and is not JSON:API."""
    detail = "Send a batch as application/json in UTF-8, or as a media type of a version."
    return _sent(context, (JSON, V1, V2), detail, "accept")


def check_json_body(context: RequestContext) -> Sent:
    """The same for what is neither an item nor a batch and has one shape."""
    return _sent(context, (JSON,), "This is sent as application/json in UTF-8.", "accept")


def check_patch_body(context: RequestContext) -> Sent:
    """The same for a PATCH; the error has Accept-Patch (RFC 5789 section 3.1)."""
    detail = "Send a patch as a JSON merge patch, a JSON Patch or a JSON:API document, in UTF-8."
    return _sent(context, PATCH_TYPES, detail, "accept_patch")


@bounded(FIELD_MAX_BYTES)
def negotiate(accept: str, version: int = 1) -> Representation | None:
    """The offered representation of the highest quality; None if none is acceptable.

    ``version`` is the URL's. Among equals a type that names its version wins, then the default.
    Also None for a value that is too long.
    """
    return _negotiate(accept, version) if is_short(accept) else None


@lru_cache(maxsize=2048)
def _negotiate(accept: str, version: int) -> Representation | None:
    ranges = [_range(part) for part in members(accept)]
    offers = OFFERED[version]
    if not ranges:
        return offers[0]
    qualities: dict[str, float] = {}
    for essence, quality, others in ranges:
        if essence != JSON_API or _allowed_by_json_api(others):
            qualities[essence] = max(qualities.get(essence, 0.0), quality)
    if JSON_API not in qualities and any(each.essence == JSON_API for each in ranges):
        return None
    best, best_rank = None, (0.0, True)
    for offered in offers:
        rank = _quality(offered, qualities), _is_named(offered, qualities)
        if rank[0] > 0.0 and (best is None or rank > best_rank):
            best, best_rank = offered, rank
    return best


class _Range(NamedTuple):
    essence: str
    quality: float
    parameters: tuple[tuple[str, str], ...]


def _sent(context: RequestContext, known: Sequence[str], detail: str, answered_by: str) -> Sent:
    value = list_field(context.headers, "content-type")
    is_one = len(context.headers.get("content-type", ())) == 1
    essence = essence_of(value) if value is not None and is_one else None
    if essence is None or essence not in known:
        location = Location("is not a supported media type", header="content-type")
        raise UnsupportedMediaType(detail, location, extra={answered_by: ", ".join(known)})
    return Sent(essence, _VERSION_OF.get(essence) or url_version(context.path))


@bounded(FIELD_MAX_BYTES)
def essence_of(content_type: str) -> str | None:
    """Type and subtype in lower case; None if its parameters are invalid, or it is too long."""
    return _essence(content_type) if is_short(content_type) else None


@lru_cache(maxsize=2048)
def _essence(content_type: str) -> str | None:
    essence, _, rest = content_type.partition(";")
    essence = essence.strip(" \t").lower()
    sent = tuple(parameters(rest))
    if essence == JSON_API:
        return essence if _allowed_by_json_api(sent) else None
    charsets = [value.lower() for name, value in sent if name == "charset"]
    return essence if all(charset in ("utf-8", "utf8") for charset in charsets) else None


def _allowed_by_json_api(parameters: tuple[tuple[str, str], ...]) -> bool:
    """Any profile is allowed and ignored if unknown; no extension is supported."""
    return all(name == "profile" or (name == "ext" and not value) for name, value in parameters)


def _range(part: str) -> _Range:
    essence, _, rest = part.partition(";")
    quality, others = 1.0, []
    for name, value in parameters(rest):
        if name == "q":
            quality = weight(value)
        else:
            others.append((name, value))
    return _Range(essence.strip(" \t").lower(), quality, tuple(others))


def _quality(offered: Representation, qualities: Mapping[str, float]) -> float:
    """RFC 9110 12.5.1: exact type, then type/*, then */*; 0 where no range names it."""
    for pattern in (offered.media_type, "application/*", "*/*"):
        if pattern in qualities:
            return qualities[pattern]
    return 0.0


def _is_named(offered: Representation, qualities: Mapping[str, float]) -> bool:
    return offered.media_type in _VERSION_OF and offered.media_type in qualities
