"""Bounds of text from clients, and the functions that parse it.

Every function that reads a header field, a query string or a member of a body is registered with
``bounded``; a test doubles the input of each up to its bound and counts the work. A longer field
is answered with 431 (RFC 6585 section 5, which requires the field's name; RFC 9110 section 5.4).
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from service.model.errors import HeaderTooLarge, Location

FIELD_MAX_BYTES: Final = 4096
# The largest tokens of common issuers have 11 kB.
TOKEN_MAX_BYTES: Final = 16_384

F = TypeVar("F", bound=Callable[..., Any])


class Parser(NamedTuple):
    """``function`` refuses text longer than ``max_bytes``, or reads at most so much of it."""

    function: Callable[..., Any]
    max_bytes: int

    @property
    def name(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"


PARSERS: Final[list[Parser]] = []


def bounded(max_bytes: int) -> Callable[[F], F]:
    """Register a function that parses text from clients; it enforces the bound itself."""

    def register(function: F) -> F:
        PARSERS.append(Parser(function, max_bytes))
        return function

    return register


def header_too_large(name: str, detail: str = "") -> HeaderTooLarge:
    """The error for a field whose lines together are too long."""
    location = Location(detail or f"is longer than {FIELD_MAX_BYTES} bytes", header=name)
    return HeaderTooLarge("A header field is too large.", location)
