"""What all errors have, and the three kinds of them, by who can act on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


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


class HotshelfError(Exception):
    """An answer other than success.

    ``detail`` is one sentence for the caller and never contains a secret, a token or SQL;
    ``locations`` become ``errors[]``; ``extra`` are further members of the problem document.
    ``run_again``: nothing happened, or repeating the same statements is safe and may succeed.
    ``recorded``: stored under the request's idempotency key; ``replayed``: read from there. The
    class has defaults for omitted arguments.
    """

    code: ClassVar[str]
    default_detail: ClassVar[str] = ""
    default_retry_after_s: ClassVar[int | None] = None
    recorded = False
    replayed = False

    def __init__(
        self,
        detail: str = "",
        *locations: Location,
        extra: Mapping[str, str | int] | None = None,
        retry_after_s: int | None = None,
        run_again: bool = False,
    ) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)
        self.locations = locations
        self.extra = extra or {}
        self.retry_after_s = retry_after_s or self.default_retry_after_s
        self.run_again = run_again


class CallerError(HotshelfError):
    """The caller has to change the request; repeating it gives the same answer."""


class CapacityError(HotshelfError):
    """Nothing is broken: the same request passes after ``retry_after_s`` whole seconds (≥ 1)."""

    default_retry_after_s = 1


class DependencyError(HotshelfError):
    """A dependency is broken or slow; ``retry_after_s`` is our best estimate."""

    default_retry_after_s = 1
