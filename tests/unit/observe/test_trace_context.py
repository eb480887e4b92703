"""W3C Trace Context, section 3.2: which ``traceparent`` is taken up."""

import pytest

from service.observe.trace_context import continued

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def test_the_trace_continues_in_our_span() -> None:
    first, second = continued(f"00-{TRACE}-{PARENT}-01"), continued(f"00-{TRACE}-{PARENT}-00")
    assert first is not None
    assert second is not None
    assert first.traceparent == f"00-{TRACE}-{first.span_id}-01"
    assert second.flags == "00"
    assert len({first.span_id, second.span_id, PARENT}) == 3


def test_later_versions_are_read_as_far_as_they_are_known() -> None:
    trace = continued(f"cc-{TRACE}-{PARENT}-ff-what-the-future-will-be")
    assert trace is not None
    assert (trace.trace_id, trace.flags) == (TRACE, "01")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"cc-{TRACE}-{PARENT}-01.more",
    ],
)
def test_invalid_values_are_ignored(value: str) -> None:
    assert continued(value) is None
