"""Arrays are spelled byte for byte as psycopg spells lists of the same values."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.numeric import Int4, Int8

from service.store import arrays
from service.store.arrays import Array, ArrayDumper

IDS = [bytes(range(16)), bytes(16)]


@pytest.mark.parametrize(
    ("ours", "same"),
    [
        (arrays.texts([b"", "ä".encode(), b"NULL", b'{"a, b"}']), ["", "ä", "NULL", '{"a, b"}']),
        (arrays.byteas([b"\0\xff", b""]), [b"\0\xff", b""]),
        (arrays.uuids(IDS), [UUID(bytes=item_id) for item_id in IDS]),
        (arrays.booleans([True, False]), [True, False]),
        (arrays.integers([0, -1, 2**31 - 1]), [Int4(0), Int4(-1), Int4(2**31 - 1)]),
        (arrays.bigints([0, -(2**63), 2**63 - 1]), [Int8(0), Int8(-(2**63)), Int8(2**63 - 1)]),
    ],
)
def test_an_array_equals_psycopgs_encoding(ours: Array, same: list[Any]) -> None:
    adapters = psycopg.adapt.AdaptersMap(psycopg.adapters)
    adapters.register_dumper(Array, ArrayDumper)
    assert _dumped(adapters, [ours]) == _dumped(adapters, [same])


def _dumped(adapters: psycopg.adapt.AdaptersMap, values: Sequence[Any]) -> list[bytes]:
    transformer = Transformer(_Context(adapters))
    return [bytes(each or b"") for each in transformer.dump_sequence(values, [PyFormat.BINARY])]


class _Context:
    """The context from which psycopg takes adapters without a connection."""

    connection = None

    def __init__(self, adapters: psycopg.adapt.AdaptersMap) -> None:
        self.adapters = adapters
