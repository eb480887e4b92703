"""The error location: where in a request something is wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the request something is wrong: exactly one of the three names is set.

    ``detail`` is a predicate without a full stop, whose subject is the location ("is missing"), or
    a sentence that begins with a capital letter ("Send it exactly once.").
    ``pointer`` is an RFC 6901 JSON Pointer into the body, ``parameter`` a query parameter,
    ``header`` a field name. ``rule`` is the name of the error in the standard that a list follows,
    where that has one for it.
    """

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None
    rule: str = ""
