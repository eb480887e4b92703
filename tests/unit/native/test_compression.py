"""Content codings: we and other libraries read what the other wrote, decompressing under a cap."""

import gzip
import zlib

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from service import native

ZEROS_50_MIB = gzip.compress(bytes(50 * 2**20))


def _decompress(coding: str, compressed: bytes) -> bytes:
    match coding:
        case "br":
            decompressed: bytes = brotli.decompress(compressed)
            return decompressed
        case "gzip":
            return gzip.decompress(compressed)
        case _:
            return zstandard.ZstdDecompressor().decompress(compressed)


@given(
    st.sampled_from([("br", 0), ("br", 5), ("gzip", 1), ("gzip", 6), ("zstd", 1), ("zstd", 3)]),
    st.binary(max_size=2_000),
    st.integers(1, 50),
)
def test_other_libraries_decompress_what_we_compress(
    coding: tuple[str, int], data: bytes, repeats: int
) -> None:
    compressed = native.compress(data * repeats, *coding)
    assert _decompress(coding[0], compressed) == data * repeats


@pytest.mark.parametrize(
    ("coding", "level"), [("br", 11), ("br", 9), ("gzip", 12), ("zstd", 19), ("zstd", 6)]
)
def test_large_bodies_at_high_levels(coding: str, level: int) -> None:
    data = b"".join(b'{"package":"lib%d","size":%d.10}\n' % (n, n * n) for n in range(8_000))
    compressed = native.compress(data, coding, level)
    assert len(compressed) < len(data) / 4
    assert _decompress(coding, compressed) == data


def test_zstd_windows_fit_what_the_web_allows() -> None:
    compressed = native.compress(bytes(range(256)) * 2**16, "zstd", 19)
    assert zstandard.get_frame_parameters(compressed).window_size <= 8 * 2**20


@pytest.mark.parametrize(
    ("coding", "level"),
    [
        ("br", -1),
        ("br", 12),
        ("gzip", 0),
        ("gzip", 13),
        ("zstd", 0),
        ("zstd", 20),
        ("deflate", 6),
        ("GZIP", 6),
        ("identity", 1),
        ("", 1),
    ],
)
def test_unknown_codings_and_levels_are_refused(coding: str, level: int) -> None:
    with pytest.raises(ValueError, match="no "):
        native.compress(b"x", coding, level)


@given(st.lists(st.binary(max_size=500), min_size=1, max_size=4), st.integers(0, 9))
def test_members_decompress_to_their_joined_content(parts: list[bytes], level: int) -> None:
    whole = b"".join(parts)
    compressed = b"".join(gzip.compress(part, level) for part in parts)
    assert native.gunzip(compressed, len(whole)) == whole
    if whole:
        with pytest.raises(native.GunzipTooLarge):
            native.gunzip(compressed, len(whole) - 1)


def test_a_bomb_is_refused_at_the_cap() -> None:
    with pytest.raises(native.GunzipTooLarge, match="1048576"):
        native.gunzip(ZEROS_50_MIB, 2**20)
    with pytest.raises(native.GunzipTooLarge):
        native.gunzip(ZEROS_50_MIB * 3, 2**20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        gzip.compress(b"text", mtime=0)[:-1],
        gzip.compress(b"text", mtime=0) + b"\0",
        gzip.compress(b"text", mtime=0) + b"trailing",
        gzip.compress(b"text", mtime=0) + b"\x1f\x8b",
        zlib.compress(b"text"),
        b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 100_000,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_incomplete_members_are_malformed(data: bytes) -> None:
    with pytest.raises(native.GunzipMalformed):
        native.gunzip(data, 2**20)


@given(st.binary(max_size=200), st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_means_nothing(data: bytes, at: int, change: int) -> None:
    compressed = bytearray(gzip.compress(data))
    compressed[at % len(compressed)] ^= change
    try:
        decompressed = native.gunzip(bytes(compressed), 10_000)
    except (native.GunzipMalformed, native.GunzipTooLarge):
        return
    assert decompressed == data  # it was a time stamp, say


def test_both_refusals_are_value_errors() -> None:
    assert issubclass(native.GunzipTooLarge, ValueError)
    assert issubclass(native.GunzipMalformed, ValueError)
    assert not issubclass(native.GunzipMalformed, native.GunzipTooLarge)
