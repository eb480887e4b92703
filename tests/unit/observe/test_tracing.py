"""Which requests get a span: few, and never more than the rate."""

import contextvars
import random

from service.observe import tracing
from service.observe.trace_context import TraceContext
from service.observe.tracing import Attributes, Root, Span, Traces, Work

SAMPLED = TraceContext("1" * 32, "2" * 16, "01")
NOT_SAMPLED = TraceContext("1" * 32, "2" * 16, "00")


class Noted:
    """A span that notes what became of it and of its children."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.trace = name, log, SAMPLED
        log.append(f"+{name}")

    def child(self, name: str, attributes: Attributes) -> "Noted":  # noqa: ARG002
        return Noted(f"{self.name}/{name}", self.log)

    def end(
        self,
        attributes: Attributes,  # noqa: ARG002
        error: BaseException | None = None,
        name: str = "",  # noqa: ARG002
    ) -> None:
        self.log.append(f"-{self.name}" + ("!" if error else ""))


def traces(share: float, per_s: int, now: list[float], log: list[str] | None = None) -> Traces:
    def begin(name: str, caller: TraceContext | None, attributes: Attributes) -> Span:
        return Noted(name, [] if log is None else log)

    return Traces(begin, share, per_s, clock=lambda: now[0], rng=random.Random(7))


def test_the_callers_flag_is_followed_up_to_our_rate() -> None:
    now = [0.0]
    ours = traces(0.0, 3, now)
    assert [ours.samples_caller(SAMPLED) for _ in range(5)] == [True] * 3 + [False] * 2
    now[0] = 1 / 3 + 1e-9
    assert [ours.samples_caller(SAMPLED) for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert not ours.samples_caller(NOT_SAMPLED)
    assert sum(ours.samples_caller(SAMPLED) for _ in range(10)) == 3


def test_a_share_of_the_others_is_drawn_within_the_same_rate() -> None:
    now = [0.0]
    ours = traces(0.1, 10**9, now)
    assert 800 < sum(ours.samples_new() for _ in range(10_000)) < 1200
    few = traces(1.0, 2, now)
    assert [few.samples_new(), few.samples_caller(SAMPLED), few.samples_new()] == [
        True,
        True,
        False,
    ]
    assert not any(traces(0.0, 10, now).samples_new() for _ in range(1000))


def test_work_of_unsampled_requests_makes_no_span() -> None:
    with Work("redis") as nothing:
        assert nothing is None
        assert tracing.current() is None


def _nested(log: list[str]) -> None:
    tracing.enter(Noted("server", log))
    with Work("limiter"), Work("redis"):
        pass
    try:
        with Work("postgresql"):
            raise OSError
    except OSError:
        pass
    with Work("again"):
        pass


def test_work_nests_and_ends_with_its_error() -> None:
    log: list[str] = []
    contextvars.Context().run(_nested, log)
    assert log == [
        "+server",
        "+server/limiter",
        "+server/limiter/redis",
        "-server/limiter/redis",
        "-server/limiter",
        "+server/postgresql",
        "-server/postgresql!",
        "+server/again",
        "-server/again",
    ]
    assert tracing.current() is None


def test_work_outside_of_requests_is_a_trace_of_its_own() -> None:
    log: list[str] = []

    def relayed() -> None:
        with Root("relay"), Work("redis"):
            pass

    contextvars.Context().run(relayed)
    assert log == []
    tracing.use(traces(1.0, 10, [0.0], log))
    try:
        contextvars.Context().run(relayed)
    finally:
        tracing.use(None)
    assert log == ["+relay", "+relay/redis", "-relay/redis", "-relay"]
