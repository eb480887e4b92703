"""Server-Timing and Cache-Status, on request."""

import pytest

from service.api.headers.prefer import prefers
from service.api.headers.timing import timing_fields


@pytest.mark.parametrize(
    ("prefer", "wanted"),
    [
        ("timing", True),
        ("return=minimal, Timing", True),
        ("timing=yes", True),
        ("return=timing", False),
        ('foo="timing"', False),
        ("", False),
        ("timings", False),
        ("timing," * 10_000, False),
    ],
)
def test_who_asks(prefer: str, wanted: bool) -> None:
    assert prefers({"prefer": [prefer]}, "timing") == wanted
    assert not prefers({}, "timing")


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("near", "hotshelf; hit; detail=near"),
        ("redis", "hotshelf; hit; detail=redis"),
        ("replica", "hotshelf; fwd=miss; detail=replica"),
        ("primary", "hotshelf; fwd=miss; detail=primary"),
    ],
)
def test_what_is_told(source: str, status: str) -> None:
    assert timing_fields({"auth": 0.0001, "read": 0.25}, 0.3, source) == [
        ("server-timing", "auth;dur=0.100, read;dur=250.000, total;dur=300.000"),
        ("cache-status", status),
    ]
    assert [name for name, _ in timing_fields({}, 0.3, "")] == ["server-timing"]
