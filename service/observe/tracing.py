"""Spans of requests that are sampled; all others make no object for it.

Whoever does something worth a span asks for ``current()``, which is None nearly always. What a
span is made of is another's business (observe/otlp.py): here is only who gets one.
"""

import contextvars
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from service.observe.lots import passed_over
from service.observe.trace_context import TraceContext

Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """One that is being recorded. ``trace`` names it to others (``traceparent``)."""

    @property
    def trace(self) -> TraceContext: ...
    def child(self, name: str, attributes: Attributes) -> "Span": ...
    def end(
        self, attributes: Attributes, error: BaseException | None = None, name: str = ""
    ) -> None: ...


# Begins a span, in the caller's trace where there is one.
Begin: TypeAlias = Callable[[str, TraceContext | None, Attributes], Span]

_current: contextvars.ContextVar[Span | None] = contextvars.ContextVar("span", default=None)
current = _current.get
enter = _current.set
leave = _current.reset


class Traces:
    """Which requests of a worker are sampled.

    ``share`` of those that say nothing are, and all whose caller says so; of both together
    ``per_s`` a second at most, since anybody can say so.
    """

    def __init__(
        self,
        begin: Begin,
        share: float,
        per_s: int,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.begin = begin
        self._share = share
        self._per_s = per_s
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._passing = passed_over(share, self._rng)
        self._left, self._at = float(per_s), clock()

    def draws(self) -> bool:
        """Whether a request that says nothing is sampled."""
        if self._passing:
            self._passing -= 1
            return False
        self._passing = passed_over(self._share, self._rng)
        return self._may()

    def follows(self, trace: TraceContext) -> bool:
        """Whether one with a traceparent is: never where its caller says that it is not."""
        return trace.flags == "01" and self._may()

    def _may(self) -> bool:
        now = self._clock()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


# The worker's; None where traces are off.
_traces: list[Traces | None] = [None]


def use(traces: Traces | None) -> None:
    """Sample by these from now on; None: not at all."""
    _traces[0] = traces


def traces() -> Traces | None:
    return _traces[0]


class Work:
    """A span around what is awaited, if the request is sampled: ``with Work("limiter"):``."""

    __slots__ = ("_attributes", "_name", "_span", "_token")

    def __init__(self, name: str, attributes: Attributes | None = None) -> None:
        self._name = name
        self._attributes = attributes or {}
        self._span: Span | None = None

    def __enter__(self) -> None:
        parent = current()
        if parent is not None:
            self._span = parent.child(self._name, self._attributes)
            self._token = enter(self._span)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self._span is not None:
            leave(self._token)
            self._span.end({}, error)


class Root(Work):
    """``Work`` that no request asked for, sampled as a request that says nothing is."""

    __slots__ = ()

    def __enter__(self) -> None:
        sampling = traces()
        if sampling is not None and sampling.draws():
            self._span = sampling.begin(self._name, None, self._attributes)
            self._token = enter(self._span)
