"""Content codings of answers (RFC 9110 sections 8.4.1 and 12.5.3)."""

from collections.abc import Mapping
from functools import lru_cache

from service import native
from service.api.headers.header_lists import is_short, list_field, members, parameters, weight
from service.api.request import Reply
from service.flow.offload import BESIDE_THE_LOOP, LONG_BYTES
from service.model.bounds import FIELD_MAX_BYTES, bounded
from service.model.errors import Location, NotAcceptable
from service.observe.metrics import COMPRESSED_BYTES

# The fastest first, because it wins where a client accepts several equally. The levels are the last
# ones before a further 1 % costs a multiple of the time (docs/performance.md).
LEVELS = {"zstd": 3, "gzip": 6, "br": 5}
# A smaller body fits into one packet with its header section, compressed or not.
WORTHWHILE_BYTES = 1024


def choose_coding(headers: Mapping[str, list[str]]) -> str:
    """The coding for a large body by Accept-Encoding; "" for none.

    Raises NotAcceptable where every coding and the plain body are refused, HeaderTooLarge.
    """
    chosen = coding_for(list_field(headers, "accept-encoding") or "")
    if chosen is None:
        raise NotAcceptable(
            "No content coding is acceptable.",
            Location("refuses every coding", header="accept-encoding"),
            extra={"available": ", ".join((*LEVELS, "identity"))},
        )
    return chosen


@bounded(FIELD_MAX_BYTES)
def coding_for(accept_encoding: str) -> str | None:
    """As ``choose_coding``, from the field's value; None where everything is refused.

    Also None for a value that is too long.
    """
    return _coding_for(accept_encoding) if is_short(accept_encoding) else None


@lru_cache(maxsize=1024)
def _coding_for(accept_encoding: str) -> str | None:
    qualities = dict(map(_member, members(accept_encoding)))
    others = qualities.get("*", 0.0)
    plain = qualities.get("identity", others)
    best, best_quality = "", plain
    for coding in LEVELS:
        quality = qualities.get(coding, others)
        if quality > best_quality or (quality == best_quality > 0.0 and not best):
            best, best_quality = coding, quality
    plain_refused = plain == 0.0 and ("identity" in qualities or "*" in qualities)
    return None if plain_refused and not best else best


def encode(body: bytes, coding: str) -> bytes | None:
    """The body in the coding; None if it would not be smaller, or is short."""
    if not coding or len(body) < WORTHWHILE_BYTES:
        return None
    coded = native.compress(body, coding, LEVELS[coding])
    COMPRESSED_BYTES.add(len(body), coding, "before")
    COMPRESSED_BYTES.add(len(coded), coding, "after")
    return coded if len(coded) < len(body) else None


async def coded(reply: Reply, coding: str) -> Reply:
    """The reply with its body encoded, if that makes it smaller.

    A large body is encoded in a thread, so that no other request waits.
    """
    body = reply.body
    if len(body) <= LONG_BYTES:
        compressed = encode(body, coding)
    else:
        compressed = await BESIDE_THE_LOOP.run(encode, body, coding)
    if compressed is None:
        return reply
    return Reply(reply.status, [*reply.headers, ("content-encoding", coding)], compressed)


def _member(part: str) -> tuple[str, float]:
    coding, _, rest = part.partition(";")
    quality = next((weight(value) for name, value in parameters(rest) if name == "q"), 1.0)
    coding = coding.strip(" \t").lower()
    return {"x-gzip": "gzip"}.get(coding, coding), quality
