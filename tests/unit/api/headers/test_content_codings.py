import asyncio
import gzip

import pytest

from service.api.headers.content_codings import choose_coding, coded, encode
from service.api.request import Reply
from service.model.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept_encoding", "chosen"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br;q=0.9", "gzip"),
        ("gzip;q=0.5, br;q=0.9", "br"),
        ("gzip;q=0", ""),
        ("*", "zstd"),
        ("*;q=0", "refused"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0", "refused"),
        ("identity;q=0.9, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("*;q=0, gzip", "gzip"),
        ("zstd;q=0, *", "gzip"),
        ("deflate", ""),
        ("gzip;q=nonsense", ""),
    ],
)
def test_the_coding_follows_the_weights(accept_encoding: str, chosen: str) -> None:
    if chosen == "refused":
        with pytest.raises(NotAcceptable):
            choose_coding({"accept-encoding": [accept_encoding]})
    else:
        assert choose_coding({"accept-encoding": [accept_encoding]}) == chosen


def test_only_bodies_that_shrink_are_coded() -> None:
    text = b"hotshelf " * 1000
    coded = encode(text, "gzip")
    assert coded is not None
    assert gzip.decompress(coded) == text
    assert encode(text[:100], "gzip") is None
    assert encode(coded * 100 + bytes(range(256)) * 0, "") is None


@pytest.mark.parametrize("size", [100, 2000, 1 << 20])
def test_a_body_is_the_same_whichever_thread_encodes_it(size: int) -> None:
    body = b"hotshelf " * (size // 9)
    reply = asyncio.run(coded(Reply(200, [("a", "b")], body), "zstd"))
    compressed = encode(body, "zstd")
    if compressed is None:
        assert reply == Reply(200, [("a", "b")], body)
    else:
        assert reply == Reply(200, [("a", "b"), ("content-encoding", "zstd")], compressed)
