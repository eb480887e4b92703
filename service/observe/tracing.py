"""Spans of sampled requests; other requests create no object for tracing.

Code that wants a span calls ``current()``, which is nearly always None. This module decides which
requests are sampled; observe/otlp.py implements the spans.
"""

import contextvars
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from service.observe.sampling import skips_before_next
from service.observe.trace_context import TraceContext

Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """A span being recorded. ``trace`` identifies it to other services (``traceparent``)."""

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

    ``share`` of those without traceparent are, and all whose traceparent says "sampled"; together
    at most ``per_s`` a second, because any client can send one.
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
        self._skips = skips_before_next(share, self._rng)
        self._left, self._at = float(per_s), clock()

    def samples_new(self) -> bool:
        """Whether a request without traceparent is sampled; call it once for each."""
        if self._skips:
            self._skips -= 1
            return False
        self._skips = skips_before_next(self._share, self._rng)
        return self._within_rate()

    def samples_caller(self, trace: TraceContext) -> bool:
        """Whether a request with this traceparent is sampled; never where its flag is unset."""
        return trace.flags == "01" and self._within_rate()

    def _within_rate(self) -> bool:
        now = self._clock()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


# This worker's; None where traces are off.
_traces: list[Traces | None] = [None]


def use(traces: Traces | None) -> None:
    """Set how requests are sampled from now on; None: not at all."""
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
    """``Work`` outside of any request, sampled like a request without traceparent."""

    __slots__ = ()

    def __enter__(self) -> None:
        sampling = traces()
        if sampling is not None and sampling.samples_new():
            self._span = sampling.begin(self._name, None, self._attributes)
            self._token = enter(self._span)
