"""ULIDs: text and bytes, and minting into a bucket."""

import os
import subprocess
import sys
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from service import native

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MAX_UNIX_MS = 2**48 - 1


@given(st.binary(min_size=16, max_size=16))
def test_bytes_and_text_are_the_same_id(item_id: bytes) -> None:
    text = native.format_id(item_id)
    assert text == str(ULID(item_id))
    assert native.parse_id(text) == item_id
    assert native.parse_id(text.lower()) == item_id


@given(st.text(st.sampled_from(CROCKFORD), min_size=26, max_size=26))
def test_26_letters_are_an_id_unless_they_overflow(text: str) -> None:
    expected = None if text[0] > "7" else bytes(ULID.from_str(text))
    assert native.parse_id(text) == expected


@given(st.text())
def test_only_the_canonical_text_in_either_case_is_parsed(text: str) -> None:
    item_id = native.parse_id(text)
    assert item_id is None or native.format_id(item_id) == text.upper()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7ZZZZZZZZZZZZZZZZZZZZZZZZ",
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "81ARZ3NDEKTSV4RRFFQ69G5FAV",
        *(f"01ARZ3NDEKTSV4RRFFQ69G5FA{letter}" for letter in "ILOUilou-_ \0\n!"),
        "01ARZ3NDEKTSV4RRFFQ69G5FA\uff15",
        "\uff10\uff11ARZ3NDEKTSV4RRFFQ69G5FAV",
        "\u06601ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01ARZ3NDEKTSV4RRFFQ69G5FA\u017f",  # upper() makes an S of it
        "01ARZ3NDEKTSV4RRFFQ69G5FA\u212a",  # lower() makes a k of it
        " 01ARZ3NDEKTSV4RRFFQ69G5FA",
        "01890a5d-ac96-774b-bcce-b302099a8057",
    ],
)
def test_anything_else_is_no_id(text: str) -> None:
    assert native.parse_id(text) is None


@pytest.mark.parametrize("size", [0, 15, 17])
def test_ids_have_16_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        native.format_id(bytes(size))
    with pytest.raises(ValueError, match="16 bytes"):
        native.bucket_of(bytes(size), 16)


def test_minted_ids_fall_in_their_bucket_and_grow() -> None:
    last = b""
    for n in range(2000):
        # A clock that stands, steps back and runs on.
        unix_ms = 1_800_000_000_000 + (n // 100) * (-1) ** (n // 700)
        modulus = (1, 2, 3, 16, 64, 1000)[n % 6]
        minted = native.mint_in_bucket(unix_ms, n % modulus, modulus)
        assert native.bucket_of(minted, modulus) == n % modulus
        assert minted > last
        last = minted


def test_threads_share_one_order() -> None:
    minted: list[list[bytes]] = [[] for _ in range(4)]

    def mint(out: list[bytes]) -> None:
        out.extend(native.mint_in_bucket(1, 5, 8) for _ in range(500))

    threads = [threading.Thread(target=mint, args=(out,)) for out in minted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(out == sorted(out) for out in minted)
    assert len({item_id for out in minted for item_id in out}) == 2000


def test_forks_of_one_process_mint_different_ids() -> None:
    script = """if True:
        import os
        from service import native
        native.mint_in_bucket(7, 0, 1)
        child = os.fork()
        for _ in range(100):
            os.write(1, native.mint_in_bucket(7, 0, 1).hex().encode() + b"\\n")
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """
    out = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert len(set(out.stdout.split())) == 200


def test_the_time_of_a_fresh_id_is_the_clock() -> None:
    script = """if True:
        from service import native
        for ms in (0, 5, 281474976710655):
            print(int.from_bytes(native.mint_in_bucket(ms, 1, 2)[:6], "big"))
    """
    out = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert out.stdout.split() == [b"0", b"5", str(MAX_UNIX_MS).encode()]


def test_buckets_get_even_shares() -> None:
    counts = Counter(native.bucket_of(os.urandom(16), 16) for _ in range(32_000))
    # Binomial with mean 2,000 and deviation 43: seven of them never happen.
    assert set(counts) == set(range(16))
    assert all(1_700 < count < 2_300 for count in counts.values())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0, 16, 16), ValueError),
        ((0, 0, 0), ValueError),
        ((MAX_UNIX_MS + 1, 0, 1), ValueError),
        ((-1, 0, 1), OverflowError),
        ((0, -1, 1), OverflowError),
        ((2**64, 0, 1), OverflowError),
    ],
)
def test_impossible_mints_are_refused(
    arguments: tuple[int, int, int], error: type[Exception]
) -> None:
    with pytest.raises(error):
        native.mint_in_bucket(*arguments)


@pytest.mark.parametrize(("modulus", "error"), [(0, ValueError), (-1, OverflowError)])
def test_impossible_moduli_are_refused(modulus: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        native.bucket_of(bytes(16), modulus)


def test_hash_bytes_is_stable_and_keeps_parts_apart() -> None:
    # Written to disk as bucket numbers of idempotency keys: these may never change.
    assert native.hash_bytes([b"a"]) == 14372996823028516049
    assert native.hash_bytes([b"ab", b"c"]) != native.hash_bytes([b"a", b"bc"])
    assert native.hash_bytes([]) != native.hash_bytes([b""])


def test_etag_hash_is_stable() -> None:
    assert native.etag_hash(b"x") == "80b2cd11"
    assert native.etag_hash(b'{"a": 1}') != native.etag_hash(b'{"a": 2}')
    assert native.etag_hash(b"x", 0) == native.etag_hash(b"x") != native.etag_hash(b"x", 1)
