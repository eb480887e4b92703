"""Gzip as programs write it: several members, empty ones, zeros at the end (RFC 1952)."""

import gzip

import pytest

from tests.fixtures.bulk import Bulk

ONE, TWO = (gzip.compress(b'{"n":%d}\n' % n, mtime=0) for n in (1, 2))


@pytest.mark.parametrize(
    "content",
    [
        ONE + TWO,
        ONE + gzip.compress(b"", mtime=0) + TWO,
        gzip.compress(b"", mtime=0) + ONE + TWO,
        gzip.compress(b'{"n":1}\n{"n"', mtime=0) + gzip.compress(b":2}", mtime=0),
        ONE + TWO + bytes(512),
    ],
    ids=["two members", "an empty one between", "an empty one first", "a split line", "zeros"],
)
def test_every_line_is_stored(bulk: Bulk, content: bytes) -> None:
    done = bulk.run("import", bulk.file("in.gz", content), "--owner", "o")
    assert done.returncode == 0, done.stderr
    assert bulk.data() == [{"n": 1}, {"n": 2}]
