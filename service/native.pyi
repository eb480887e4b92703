"""What the Rust extension offers to Python. One Rust file an idea: see native/src."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, final

from typing_extensions import disjoint_base

from service.api.headers.sections import ParsedFields
from service.cache.layout import ItemEntry
from service.items.coherence import Prepared
from service.model.caller import Caller
from service.model.rate import Rate

__all__ = [
    "Count",
    "GunzipMalformed",
    "GunzipTooLarge",
    "HotAnswers",
    "HotCollection",
    "Lease",
    "PlainHits",
    "ScanProblem",
    "Section",
    "SectionTable",
    "Skips",
    "Stored",
    "Tally",
    "Verified",
    "bucket_of",
    "compress",
    "copy_rows",
    "etag_hash",
    "format_id",
    "gunzip",
    "hash_bytes",
    "mint_in_bucket",
    "parse_id",
    "scan_elements",
    "scan_envelope",
    "scan_value",
]

@final
class ScanProblem:
    """One location at which a JSON text breaks a rule.

    ``rule`` is one of: ``syntax``, ``duplicate-member``, ``unknown-member``, ``not-an-object``,
    ``too-deep``, ``name-too-long``, ``nul``, ``lone-surrogate``, ``number-too-long``.
    ``pointer`` is an RFC 6901 JSON Pointer into the scanned text: to the value or the member, ""
    for ``syntax``; in it a name is cut after 256 bytes, and a lone surrogate is U+FFFD.
    ``line`` and ``column`` count from 1 (columns in bytes). ``detail`` is a predicate whose subject
    is the location ("is nested deeper than 64 levels").
    Immutable, and equal to another with the same five values.
    """

    @property
    def rule(self) -> str: ...
    @property
    def pointer(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...
    @property
    def detail(self) -> str: ...

@disjoint_base
class Tally:
    """How many values fell into which bucket. One thread at a time may use it.

    A value belongs to the first of the ascending ``bounds`` that is not below it; beyond the last
    there is one more bucket. Raises ValueError where the bounds do not ascend.
    """

    def __new__(cls, bounds: Sequence[float]) -> Self: ...
    @property
    def counts(self) -> list[int]:
        """A new list, with one element more than there are bounds."""

    @property
    def total(self) -> float:
        """The sum of all values."""

    def observe(self, value: float) -> None: ...
    def bucket(self, value: float) -> int:
        """The index of the value's bucket."""

@disjoint_base
class Count:
    """A number that only grows. The arguments are a subclass's."""

    value: float
    def __new__(cls, *_subclass: Any) -> Self: ...

@disjoint_base
class Skips:
    """How many answers get no line in the access log; ``slow_s``: slower ones always do."""

    left: int
    slow_s: float
    def __new__(cls, *_subclass: Any, **_named: Any) -> Self: ...

@disjoint_base
class Lease:
    """Tokens of a rate limit that a worker may spend; times are of its own clock in seconds."""

    rate: Rate
    left: int  # tokens of the lease not spent
    used: int  # tokens spent and not yet reported
    passed: int  # admitted since the rate was measured
    asked_at: float
    good_until: float  # the lease may be spent before this
    renew_below: int
    renew_at: float
    low_below: float  # `left` below it: less than half of the capacity is left to all
    def __new__(cls, *_subclass: Any, **_named: Any) -> Self: ...

@final
class Verified:
    """A verified token, with what a hit needs of its caller. Immutable."""

    def __new__(cls, caller: Caller, good_until_s: float, weight_bytes: int) -> Self: ...
    @property
    def caller(self) -> Caller: ...
    @property
    def good_until_s(self) -> float: ...
    @property
    def weight_bytes(self) -> int: ...

@final
class Section:
    """A header section. ``parsed`` is None until the caller is known, because parsing costs time.

    ``token`` is the bearer token, or empty if the caller depends on more of ``fields``.
    """

    fields: Mapping[str, str]
    token: str
    parsed: ParsedFields | None
    def __new__(cls, fields: Mapping[str, str], token: str) -> Self: ...

@disjoint_base
class SectionTable:
    """Sections by their lines, in order. Lines are as Granian makes them: ASCII without NUL."""

    def __new__(cls) -> Self: ...
    def find(self, lines: list[tuple[str, str]]) -> Section | None: ...
    def keep(self, lines: list[tuple[str, str]], section: Section) -> None: ...
    def clear(self) -> None: ...
    def __len__(self) -> int: ...

@final
class Stored:
    """A living item in this worker: its entry, and the representations made of it.

    ``representations`` are keyed by media type and version (any object of the api's) and coding.
    ``source`` is where it was read from: redis, replica or primary.
    """

    def __new__(cls, entry: ItemEntry, source: str = "") -> Self: ...
    @property
    def entry(self) -> ItemEntry: ...
    @property
    def source(self) -> str: ...
    @property
    def representations(self) -> dict[tuple[object, str], Prepared]: ...

@disjoint_base
class HotAnswers:
    """What counts answers from the near cache: their times by class of status, 2xx and 3xx.

    A subclass has a method ``sent(status, size, source, caller_key, began_s)``, which counts, times
    and logs one answer.
    """

    def __new__(cls, whole: Tally, unchanged: Tally, sent_bytes: Count) -> Self: ...

@disjoint_base
class HotCollection:
    """A collection whose items the hot path reads; one of ``scopes`` allows it.

    ``is_plain``: what is found in it can be sent to all who may read.
    """

    number: int
    is_plain: bool
    scopes: tuple[str, ...]
    answers: HotAnswers
    def __new__(
        cls, number: int, is_plain: bool, scopes: tuple[str, ...], answers: HotAnswers
    ) -> Self: ...

@final
class PlainHits:
    """Answers plain near cache hits, and passes all other requests on.

    ``tables`` has the attributes of ``service.api.plain_hits.Tables``. ``done`` is returned for an
    answered request; for others what ``in_python`` returns, which gets the arguments of ``answer``,
    when it began by ``tables.clock``, and None or, if the caller may read there, a tuple of the
    collection, the caller, the item's id and the parsed section. Then nothing is counted.
    """

    def __new__(cls, tables: Any, done: Any, in_python: Any) -> Self: ...
    def answer(self, scope: Any, exchange: Any, general: Any) -> Any: ...

def bucket_of(item_id: bytes, modulus: int) -> int:
    """The PostgreSQL hash partition (0 ≤ n < modulus) of a uuid given as its 16 bytes.

    Equal to the ``remainder`` for which ``satisfies_hash_partition`` holds. Raises ValueError
    unless ``item_id`` has 16 bytes and ``modulus`` ≥ 1, OverflowError outside unsigned 64 bits.
    """

def hash_bytes(parts: list[bytes]) -> int:
    """A stable unsigned 64-bit hash of byte strings, each length-prefixed, for scopes and locks.

    The same list gives the same number in every process and release.
    """

def mint_in_bucket(unix_ms: int, bucket: int, modulus: int) -> bytes:
    """A new ULID (16 bytes) whose bucket is ``bucket``.

    Within one process each id is greater than the one minted before, also when the clock
    stands still or steps back (the id's time then runs ahead of ``unix_ms``). Randomness is the
    operating system's, so forked workers differ. Takes ``modulus`` hashes on average.

    Raises ValueError unless 0 ≤ ``bucket`` < ``modulus`` and ``unix_ms`` fits in 48 bits, and
    OverflowError for negative arguments or when no greater id exists.
    """

def parse_id(text: str) -> bytes | None:
    """The 16 bytes of a ULID's 26 Crockford characters in either case; None for anything else."""

def format_id(item_id: bytes) -> str:
    """The canonical 26 upper-case characters of a ULID; ValueError unless it has 16 bytes."""

def etag_hash(data: bytes, seed: int = 0) -> str:
    """8 lower-case hex digits of the content's XXH3 hash, the second half of an ETag."""

def scan_envelope(
    body: bytes, members: list[str], max_depth: int = 64
) -> dict[str, bytes] | list[ScanProblem]:
    """Check a JSON object whose only members may be ``members`` and cut out their raw values.

    Returns each present member's exact text (numbers keep every digit), or the problems that were
    found, in document order: at most 20 broken rules, and behind them the syntax error that ended
    the scan, if any. That no member is missing is for the caller to see. Checks syntax (RFC 8259,
    UTF-8, no byte order mark), duplicate and unknown members of the envelope itself, and in every
    value: arrays and objects nested at most ``max_depth`` deep (the envelope does not count; in
    what is deeper only the syntax is checked), member names ≤ 256 bytes, no NUL, no lone
    surrogate, no number that jsonb would write out in more than 1,000 digits (a zero before the
    point counts), no numbers that together become more than 2**20 digits longer by being written
    out. Needs no more than linear time and, besides copies, a byte per level of nesting.
    """

def scan_elements(
    body: bytes, members: list[str], array: str, max_elements: int, max_depth: int = 64
) -> tuple[dict[str, bytes], list[tuple[int, int]] | None] | list[ScanProblem]:
    """As ``scan_envelope``, of an envelope whose member ``array`` is an array of many values.

    Returns the other members, and where each element begins and ends in ``body``; None if the
    member is absent or no array. At most ``max_elements`` + 1 spans are returned, so one more
    than allowed shows; the rest is checked like everything else. The array is a level of depth.
    """

def scan_value(text: bytes, max_depth: int = 64) -> list[ScanProblem]:
    """The same checks of any one JSON value; an empty list when it is clean."""

def copy_rows(
    text: bytes,
    first_line: int,
    first_id: bytes,
    head: bytes,
    shard_of: list[int],
    done: list[int],
    bare: bool,
) -> tuple[list[tuple[bytes, bytes]], list[tuple[int, bytes]]]:
    """Encode lines that are plain JSON objects as rows of PostgreSQL's binary COPY format.

    Line n, the first one being ``first_line``, becomes the data of the item ``first_id`` + n;
    ``head`` are the row's encoded fields between id and data. ``shard_of`` is the shard of each
    bucket, ``done`` each shard's last line that needs no row any more.

    Returns for every shard its rows and their line numbers (native 64-bit integers), and the
    lines that the caller has to look at: those that are not clean objects and, unless ``bare``,
    those that may have a member ``data``. Blank lines are neither. Raises ValueError when
    ``first_id`` has not 16 bytes or ``shard_of`` names a shard without an entry in ``done``.
    """

def compress(data: bytes, coding: str, level: int) -> bytes:
    """``data`` in a content coding (RFC 9110 §8.4.1).

    ``coding`` and ``level`` are ``br`` with 0 to 11, ``gzip`` with 1 to 12 or ``zstd`` with 1 to 19
    (whose windows stay within RFC 9659's 8 MiB); ValueError for anything else. The result may be
    longer than ``data``, and may differ between releases. Data above 64 KiB is compressed without
    the interpreter lock.
    """

class GunzipTooLarge(ValueError):
    """Decompressed, a body has more bytes than the caller takes."""

class GunzipMalformed(ValueError):
    """A body is not a whole number of gzip members (RFC 1952), or a checksum is wrong."""

def gunzip(data: bytes, max_bytes: int) -> bytes:
    """Decompress one or more gzip members to at most ``max_bytes`` bytes.

    Raises GunzipTooLarge as soon as there is one byte more, without decompressing the rest, else
    GunzipMalformed for bad, cut, empty or trailing data. Time is linear in both lengths however
    many members there are; above 64 KiB of either the interpreter lock is released.
    """
