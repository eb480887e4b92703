"""What the Rust extension offers to Python. One Rust file an idea: see native/src."""

class ScanProblem:
    """One place at which a JSON text breaks a rule.

    ``rule`` is one of: ``syntax``, ``duplicate-member``, ``unknown-member``, ``missing-member``,
    ``not-an-object``, ``too-deep``, ``name-too-long``, ``nul``, ``lone-surrogate``,
    ``number-too-long``. ``pointer`` is an RFC 6901 JSON Pointer into the scanned text;
    ``line`` and ``column`` count from 1 (columns in bytes).
    """

    rule: str
    pointer: str
    line: int
    column: int
    detail: str

def bucket_of(item_id: bytes, modulus: int) -> int:
    """The PostgreSQL hash partition (0 ≤ n < modulus) of a uuid given as its 16 bytes.

    Equal to the ``remainder`` for which ``satisfies_hash_partition`` holds. Raises ValueError
    unless ``item_id`` has 16 bytes and ``modulus`` ≥ 1.
    """

def hash_bytes(parts: list[bytes]) -> int:
    """A stable unsigned 64-bit hash of byte strings, each length-prefixed, for scopes and locks."""

def mint_in_bucket(unix_ms: int, bucket: int, modulus: int) -> bytes:
    """A new ULID (16 bytes) whose bucket is ``bucket``.

    Within one process each id is greater than the one minted before, also when the clock
    stands still or steps back. Randomness is the operating system's, so forked workers differ.
    """

def parse_id(text: str) -> bytes | None:
    """The 16 bytes of a ULID's 26 Crockford characters in either case; None for anything else."""

def format_id(item_id: bytes) -> str:
    """The canonical 26 upper-case characters of a 16-byte ULID."""

def etag_hash(data: bytes) -> str:
    """8 lower-case hex digits of the content's XXH3 hash, the second half of an ETag."""

def scan_envelope(body: bytes, members: list[str]) -> dict[str, bytes] | list[ScanProblem]:
    """Check a JSON object whose only members may be ``members`` and cut out their raw values.

    Returns each present member's exact text (numbers keep every digit), or every problem that
    was found, in document order. Checks syntax (RFC 8259, UTF-8, no BOM), duplicate and unknown
    members of the envelope itself, and in every value: depth ≤ 64, member names ≤ 256 bytes,
    no NUL, no lone surrogate, no number that needs more than 1,000 digits written out.
    """

def scan_value(text: bytes) -> list[ScanProblem]:
    """The same checks of any one JSON value; an empty list when it is clean."""
