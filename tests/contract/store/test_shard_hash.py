"""Buckets are PostgreSQL's own hash partitions: the server itself is the oracle."""

import os
import uuid
from collections import Counter

import psycopg
import pytest

from service import native
from service.embedded import Stack


@pytest.mark.parametrize("modulus", [1, 2, 3, 7, 16, 64, 100, 1024])
def test_bucket_of_is_postgresql_s_remainder(stack: Stack, modulus: int) -> None:
    ids = [os.urandom(16) for _ in range(9_998)] + [bytes(16), b"\xff" * 16]
    assert _refused(stack, modulus, ids, [native.bucket_of(i, modulus) for i in ids]) == []
    counts = Counter(native.bucket_of(item_id, modulus) for item_id in ids)
    if modulus <= 16:
        # Binomial: six standard deviations either way.
        mean = len(ids) / modulus
        assert all(abs(count - mean) <= 6 * mean**0.5 for count in counts.values())


@pytest.mark.parametrize("modulus", [1, 16, 1024])
def test_minted_ids_land_in_the_requested_partition(stack: Stack, modulus: int) -> None:
    buckets = [n % modulus for n in range(2_000)]
    ids = [
        native.mint_in_bucket(1_800_000_000_000 + n // 9, b, modulus) for n, b in enumerate(buckets)
    ]
    assert _refused(stack, modulus, ids, buckets) == []


def test_the_oracle_can_say_no(stack: Stack) -> None:
    item_id = bytes(range(16))
    wrong = (native.bucket_of(item_id, 16) + 1) % 16
    assert _refused(stack, 16, [item_id], [wrong]) == [uuid.UUID(bytes=item_id)]


def _refused(stack: Stack, modulus: int, ids: list[bytes], buckets: list[int]) -> list[uuid.UUID]:
    """The ids that do not belong in the bucket beside them, as PostgreSQL sees it."""
    with psycopg.connect(stack.shards[0][0]) as connection:
        connection.execute("CREATE TEMP TABLE parted (id uuid) PARTITION BY HASH (id)")
        rows = connection.execute(
            "SELECT id FROM unnest(%s::uuid[], %s::int[]) AS given (id, bucket)"
            " WHERE NOT satisfies_hash_partition('parted'::regclass, %s, bucket, id)",
            ([uuid.UUID(bytes=i) for i in ids], buckets, modulus),
        ).fetchall()
        connection.rollback()
    return [row[0] for row in rows]
