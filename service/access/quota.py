"""The quota of one key as one worker knows it, and its arithmetic."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from service import native
from service.model.rate import Admission

Waiter = Callable[[Admission], None]

LEASE_S = 10.0
# Measured with tracemalloc, rounded up.
_QUOTA_BYTES = 1200
# A lease that is idle for this long is returned. A used-up one can wait longer, because it
# withholds no tokens from others; but its use drains only once it is reported.
IDLE_S, REPORT_S = 3.0, 8.0
AHEAD_S = 3.0
# A lease ends early here and late in Redis, because two clocks may differ in speed by 2 %.
_EARLY, _LATE = 0.98, 1.02
# By then an idle worker has returned and reported everything, the sweep's period included.
_GIVEN_BACK_S = REPORT_S + 0.5


class Call(NamedTuple):
    """One ``take`` to send: ``args`` are the script's, the rest is for handling the reply."""

    quota: "Quota"
    args: tuple[bytes, ...]
    sent_at: float
    used: int
    debt: float
    waiting: int


class Reply(NamedTuple):
    """What ``take`` returned; ``tat`` stays text because it only goes back to Redis."""

    n: int
    free: float
    tat: bytes
    seq: int
    level: float
    others: int


@dataclass(slots=True)
class Quota(native.Lease):
    """The limit of one key as this worker knows it; times are the worker's own clock in seconds."""

    key: str
    seq: int
    measured_at: float
    forget_at: float = 0.0  # by then Redis has charged the lease, used or not
    waiting: list[tuple[int, Waiter]] = field(default_factory=list)  # cost and callback
    calling: bool = False  # a take is due or under way
    leaving: bool = False  # the lease is being given back
    refuse_until: float = 0.0
    seen: bytes = b"0"
    free: float = 0.0  # at the last reply, as are level, others and spare
    level: float = 0.0
    spare: int = 0
    replied_at: float = 0.0
    speed: float = 0.0  # admitted tokens per second, smoothed
    debt: float = 0.0  # level without Redis at debt_at, see local_level
    debt_at: float = 0.0

    @property
    def held_bytes(self) -> int:
        """What it takes in memory, with its places in the dictionary and in the heap."""
        return _QUOTA_BYTES + sys.getsizeof(self.key)

    def take(self, call: Call, reply: Reply, now: float, workers_share: float) -> None:
        """Make the numbers those of a reply; ``workers_share`` is this worker's without Redis."""
        self.used -= call.used
        self.left = max(0, reply.n - self.used)
        self.good_until = call.sent_at + _EARLY * LEASE_S
        self.forget_at = now + _LATE * LEASE_S
        self.renew_below = self.left // 2
        self.renew_at = call.sent_at + LEASE_S / 2
        self.seq, self.seen = reply.seq, reply.tat
        self.free, self.level, self.replied_at = reply.free, reply.level, now
        # Only our own share, because others may take free tokens at any time.
        share = 2 * (reply.others + 1) if reply.others else 1
        self.spare = max(0, math.floor(reply.free / share))
        self.low_below = self.rate.capacity / 2 - reply.free
        debt = self.local_level(workers_share, now) - call.debt
        self.debt, self.debt_at = max(0.0, debt), now

    def wait_s(self, cost: int, now: float) -> float:
        """Seconds until ``cost`` would pass if no other request uses this quota."""
        # Because leases do not drain, a shortfall above the level needs leases to be returned
        # first, ours too, since another worker may get the next request; otherwise it drains.
        short = cost - self.free
        after_return = max(_GIVEN_BACK_S, (short - self.left) * self.rate.tau_s)
        drained = short * self.rate.tau_s
        wait = _GIVEN_BACK_S + drained if short > self.level else min(drained, after_return)
        return max(0.0, wait - (now - self.replied_at))

    @property
    def reserves_ahead(self) -> bool:
        """False for a key with so few requests that a lease would save no round trip."""
        return self.speed * AHEAD_S >= 1

    def ahead(self, now: float) -> int:
        """Tokens to reserve for the next ``AHEAD_S``, from the smoothed rate of admissions."""
        elapsed = now - self.measured_at
        if elapsed > 0:
            weight = 1 - math.exp(-elapsed / AHEAD_S)
            self.speed += weight * (self.passed / elapsed - self.speed)
            self.passed, self.measured_at = 0, now
        return int(self.speed * AHEAD_S)

    def local_level(self, share: float, now: float) -> float:
        """The level to use while Redis cannot be reached; it drains at ``share`` of the rate."""
        if not self.debt:
            return 0.0
        drained = (now - self.debt_at) * share / self.rate.tau_s
        return max(0.0, self.debt - drained)

    def only_reports(self, now: float) -> bool:
        """Whether the only unreported fact is that the lease was used up."""
        return not (self.left and now < self.good_until) and not self.debt

    def owes_nothing(self, share: float, now: float) -> bool:
        """Whether nothing is reserved or unreported, and nothing was admitted without Redis."""
        lease = self.left and now < self.good_until
        unreported = self.used and now < self.forget_at
        return not lease and not unreported and self.local_level(share, now) <= 0


def notify(answers: list[tuple[Waiter, Admission]]) -> None:
    """Call all of them; raises ExceptionGroup of what some raised."""
    errors: list[Exception] = []
    for waiter, admission in answers:
        try:
            waiter(admission)
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup("waiters of the limiter failed", errors)
