"""The scanner accepts exactly what jsonb can store, and counts the length that jsonb writes."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import native
from service.embedded import Stack

NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "1.10",
    "1E2",
    "1.50e+1",
    "12e-1",
    "0e5",
    "0e-5",
    "0.010e1",
    "1e999",
    "1e1000",
    "1e-999",
    "1e-1000",
    "9" * 1000,
    "9" * 1001,
    "0." + "0" * 999,
    "0." + "0" * 1000,
    "0e1000",
    "0e131072",
    "0e1073741822",
    # PostgreSQL 15 refuses exponents from 1073741823 on, 18 from 1073741824 on; we follow 15.
    "0e1073741824",
    "-0e-1073741823",
    "1e-16383",
    "1e131071",
    "1e131072",
    "1e00000000000000000001",
    "1e99999999999999999999",
]


def _written_digits(connection: psycopg.Connection, token: str) -> int | None:
    """Digits in jsonb's text of a number; None when jsonb refuses it."""
    try:
        with connection.transaction(force_rollback=True):
            row = connection.execute(
                "SELECT length(translate(%s::jsonb::text, '-.', ''))", [token]
            ).fetchone()
    except psycopg.DataError:
        return None
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("token", NUMBERS, ids=lambda token: token[:24])
def test_numbers_fit_exactly_when_jsonb_writes_at_most_1000_digits(
    stack: Stack, token: str
) -> None:
    with psycopg.connect(stack.shards[0][0]) as connection:
        digits = _written_digits(connection, token)
    fits = digits is not None and digits <= 1000
    assert (native.scan_value(token.encode()) == []) == fits


@given(
    tokens=st.lists(
        st.from_regex(
            r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?0{0,3}(9[0-9]{2}|10[0-9]{2}|[0-9]{1,2}))?",
            fullmatch=True,
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_generated_numbers_fit_exactly_when_jsonb_says_so(stack: Stack, tokens: list[str]) -> None:
    with psycopg.connect(stack.shards[0][0]) as connection:
        for token in tokens:
            digits = _written_digits(connection, token)
            assert digits is not None
            assert (native.scan_value(token.encode()) == []) == (digits <= 1000), token


@pytest.mark.parametrize(
    "text",
    [
        '"a\\u0000b"',
        '{"\\u0000":1}',
        '"\\ud800"',
        '"\\udc00"',
        '"\\ude00\\ud83d"',
        '"\\ud83d\\ud83d\\ude00"',
        '{"\\ud800":1}',
        "NaN",
        "01",
        "1.",
        "{} {}",
        '{"a":1,}',
        '"\\\\u0000"',
        '"\\\\ud800"',
        '"\\ud83d\\ude00"',
        '{"a":1,"a":2}',
        "[" * 64 + "]" * 64,
    ],
)
def test_the_scanner_and_jsonb_agree(stack: Stack, text: str) -> None:
    with psycopg.connect(stack.shards[0][0]) as connection:
        try:
            connection.execute("SELECT %s::jsonb", [text])
        except psycopg.DataError:
            stored = False
        else:
            stored = True
    assert (native.scan_value(text.encode()) == []) == stored
