"""A rate limit, and the admission of a request under it."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Rate:
    """``quota`` tokens drain per ``window_s`` seconds; the bucket holds ``capacity`` (0: quota)."""

    quota: int = 100
    window_s: int = 60
    capacity: int = 0
    tau_s: float = field(init=False)
    reset_s: int = field(init=False)
    policy_field: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        if self.quota < 1 or self.window_s < 1 or self.capacity < 0:
            raise ValueError("a rate needs a quota and a window of at least 1")
        compute = object.__setattr__
        compute(self, "capacity", self.capacity or self.quota)
        compute(self, "tau_s", self.window_s / self.quota)
        compute(self, "reset_s", max(1, math.ceil(self.tau_s)))
        policy = f'"default";q={self.quota};w={self.window_s}'
        compute(self, "policy_field", ("ratelimit-policy", policy))


class Admission(NamedTuple):
    """The result for one request. ``remaining`` is a lower bound of what would pass now if no other
    request came; it grows within ``reset_s``. ``retry_after_s`` is 0 when allowed, else at least 1:
    after it the same cost passes if the key is not used meanwhile. ``is_low``: less than half of
    the capacity may be left to all workers together.
    """

    allowed: bool
    rate: Rate
    remaining: int
    reset_s: int
    retry_after_s: int
    is_low: bool = True

    def fields(self) -> list[tuple[str, str]]:
        """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers)."""
        limit = f'"default";r={self.remaining};t={self.reset_s}'
        return [self.rate.policy_field, ("ratelimit", limit)]
