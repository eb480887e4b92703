"""The tables that native.PlainHits reads, each owned by the part that keeps its rules.

A plain hit is a GET that was all decided before: a remembered section and token, a lease with
tokens to spend, an entry of the near cache with its answer prepared. Native code answers it as
``GetItem`` would, and counts the same; it changes nothing but counts and the lease.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, TypeAlias

from service import native
from service.api.gate import Gate
from service.api.headers.sections import ParsedFields, Sections
from service.api.hot_collections import HotCollection
from service.api.request import LARGE_BYTES, Reply
from service.items.coherence import Stored
from service.items.reader import Reader
from service.model.caller import Caller
from service.model.rate import Admission, Rate
from service.observe.access_log import AccessLog


class Known(NamedTuple):
    """A request for an item that its caller may read."""

    hot: HotCollection
    caller: Caller
    item_id: bytes
    parsed: ParsedFields


class Asked(NamedTuple):
    """A near cache miss, or (``admission`` None) a request that needs a call of the limiter."""

    known: Known
    admission: Admission | None


Found: TypeAlias = tuple[Reply, Admission, Caller, HotCollection]


@dataclass(frozen=True, slots=True)
class Tables:
    """``collections`` by prefix of a path, ``sections`` by their lines, ``tokens`` by their text.

    ``quotas`` are by key of the limiter; ``near`` are (expiry, item, bytes) and ``last_seen``
    ((epoch, version), expiry) by id. ``rate`` is that of callers without their own.
    ``passed`` and ``from_near`` count. Larger bodies than ``max_bytes`` are not plain.
    ``now_s`` tells Unix seconds. ``clock`` is that of all other times, CLOCK_MONOTONIC, whether
    Python calls it ``perf_counter``, ``monotonic`` or the loop's ``time``.
    """

    collections: Mapping[str, native.HotCollection]
    sections: native.SectionTable
    tokens: Mapping[str, native.Verified]
    quotas: Mapping[str, native.Lease]
    near: Mapping[bytes, tuple[float, Stored, int]]
    last_seen: Mapping[bytes, tuple[tuple[int, int], float]]
    rate: Rate
    passed: native.Count
    from_near: native.Count
    log: native.Skips
    draining: Callable[[], int]
    max_bytes: int
    now_s: Callable[[], float]
    clock: Callable[[], float]


def tables_of(
    gate: Gate,
    reader: Reader,
    collections: Mapping[str, native.HotCollection],
    sections: Sections,
    draining: Callable[[], int],
    log: AccessLog,
    clock: Callable[[], float] = perf_counter,
) -> Tables:
    """One worker's."""
    near, tokens = reader.near.held, gate.tokens
    kept = (collections, sections, tokens.verified, gate.leases.by_key, near)
    counts = (gate.passed, reader.near_hits, log)
    seen, now_s = reader.last_seen.versions, tokens.now_s
    return Tables(*kept, seen, gate.rate, *counts, draining, LARGE_BYTES, now_s, clock)
