"""How often: one worker's side of leaky buckets that all workers share.

A bucket drains ``quota`` tokens per ``window_s`` and holds ``capacity``. Redis keeps its level;
each worker reserves a few tokens there as a lease and spends them without asking. Everything
here decides from an injected clock and does no I/O: ``due_calls`` says what to ask Redis (the
script ``take.lua``), ``replied`` and ``failed`` say what came of it. Whoever passes the sum of
all workers' admissions through one bucket finds it never above its capacity.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable

from service.access.bucket import IDLE_S, LEASE_S, REPORT_S, Bucket, Call, Reply, Waiter
from service.model.rate import Admission, Rate

# Clocks of two machines may run apart by two per cent: a lease ends early here, late there.
_EARLY, _LATE = 0.98, 1.02
_REFUSE_MIN_S, _REFUSE_MAX_S = 0.005, 0.1
_SHARE_MAX = 0.25
# Keys among which the busiest are looked for: some milliseconds of work.
_LOOKED_AT = 10_000


class LeakyBuckets:
    """The buckets of one worker.

    ``worker`` is unique per process start. ``wake`` is called when the first call became due.
    ``reachable`` tells whether Redis can be asked at all; without it each worker enforces its
    share of the limit, a quarter at most. ``workers`` is how many share it, kept up to date by
    the owner. ``max_keys`` bounds memory: beyond it the key that has waited longest for a look
    gives its lease back and is forgotten.
    """

    def __init__(
        self,
        worker: str,
        clock: Callable[[], float],
        wake: Callable[[], None],
        reachable: Callable[[], bool],
        *,
        workers: int = 1,
        max_keys: int = 100_000,
        dice: random.Random | None = None,
    ) -> None:
        self._worker = worker.encode()
        self._clock = clock
        self._wake = wake
        self._reachable = reachable
        self.workers = workers
        self._max_keys = max_keys
        self._dice = dice or random.SystemRandom()
        self._buckets: dict[str, Bucket] = {}
        self._due: list[Bucket] = []
        # Heap of (when to look whether it is idle, tie-break, bucket)
        self._looks: list[tuple[float, int, Bucket]] = []
        self._ties = itertools.count()

    def __len__(self) -> int:
        return len(self._buckets)

    def busiest(self, at_most: int) -> list[tuple[str, float, float]]:
        """Keys, tokens a second and level of those that spent most lately, of the oldest ones."""
        now = self._clock()
        speeds = (
            (max(b.speed, b.passed / max(1.0, now - b.measured_at)), b.level, b.key)
            for b in itertools.islice(self._buckets.values(), _LOOKED_AT)
        )
        return [(key, s, level) for s, level, key in heapq.nlargest(at_most, speeds) if s > 0]

    def spend(self, key: str, rate: Rate) -> Admission | None:
        """One token of a lease that is at hand; None, and nothing done, where ``admit`` must."""
        bucket = self._buckets.get(key)
        if bucket is None or bucket.rate is not rate or bucket.left < 1:
            return None
        now = self._clock()
        if now >= bucket.good_until:
            return None
        bucket.asked_at = now
        return self._spend(bucket, 1, now)

    def admit(self, key: str, rate: Rate, cost: int, waiter: Waiter) -> Admission | None:
        """The answer, or None: then ``waiter`` is called with it exactly once, later.

        ``cost`` is 1 to ``rate.capacity`` tokens; more could never pass and is a ValueError.
        """
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._add(key, rate, now)
        bucket.asked_at = now
        bucket.rate = rate
        if cost <= bucket.left and now < bucket.good_until:
            return self._spend(bucket, cost, now)
        if cost > rate.capacity:
            raise ValueError("a cost above the capacity can never pass")
        if now < bucket.refuse_until:
            return self._refuse(bucket, cost, now)
        if not bucket.calling and not self._reachable():
            return self._locally(bucket, cost, now)
        bucket.waiting.append((cost, waiter))
        self._call(bucket)
        return None

    def give_back(self, key: str) -> None:
        """Undo the admission of one token. Nothing, where Redis has been told of it already."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return
        now = self._clock()
        if bucket.used and not bucket.calling and now < bucket.good_until:
            bucket.used -= 1
            bucket.left += 1
        elif bucket.debt:
            bucket.debt, bucket.debt_at = max(0.0, bucket.local_level(self._share(), now) - 1), now

    def due_calls(self) -> list[Call]:
        """The calls to send now, at most one per bucket at a time. Each must end in ``replied``
        or ``failed``."""
        due, self._due = self._due, []
        now = self._clock()
        return [self._prepare(bucket, now) for bucket in due]

    def replied(self, call: Call, reply: Reply) -> None:
        """Redis ran the call."""
        now = self._clock()
        bucket = call.bucket
        bucket.calling = bucket.leaving = False
        bucket.used -= call.used
        bucket.left = max(0, reply.n - bucket.used)
        bucket.good_until = call.sent_at + _EARLY * LEASE_S
        bucket.forget_at = now + _LATE * LEASE_S
        bucket.renew_below = bucket.left // 2
        bucket.renew_at = call.sent_at + LEASE_S / 2
        bucket.seq, bucket.seen = reply.seq, reply.tat
        bucket.free, bucket.level, bucket.replied_at = reply.free, reply.level, now
        # Others may take from what is free at any time: promise no more than our own share.
        share = 2 * (reply.others + 1) if reply.others else 1
        bucket.spare = max(0, math.floor(reply.free / share))
        bucket.debt, bucket.debt_at = (
            max(0.0, bucket.local_level(self._share(), now) - call.debt),
            now,
        )
        told: list[tuple[Waiter, Admission]] = []
        late: list[tuple[int, Waiter]] = []
        refused = False
        waiting, bucket.waiting = bucket.waiting, []
        for position, (cost, waiter) in enumerate(waiting):
            if cost <= bucket.left:
                told.append((waiter, self._spend(bucket, cost, now)))
            elif position < call.waiting or refused:
                refused = True
                told.append((waiter, self._refuse(bucket, cost, now)))
            else:
                late.append((cost, waiter))
        if refused:
            wait = bucket.wait_s(1, now)
            bucket.refuse_until = now + max(_REFUSE_MIN_S, min(wait, _REFUSE_MAX_S))
        if late:
            bucket.waiting = late
            self._call(bucket)
        _tell(told)

    def failed(self, call: Call, *, sent: bool) -> None:
        """No reply came, or with ``sent`` False the call never left: decide without Redis."""
        now = self._clock()
        bucket = call.bucket
        bucket.calling = bucket.leaving = False
        if sent:
            # It may have been carried out or not, now or later. A number that Redis has not
            # given makes it charge whatever it holds for us.
            bucket.left = 0
            bucket.seq = self._strange_seq()
        waiting, bucket.waiting = bucket.waiting, []
        _tell([(waiter, self._without_redis(bucket, cost, now)) for cost, waiter in waiting])

    def sweep(self) -> None:
        """Give back the leases of idle keys and forget those that have nothing left."""
        now = self._clock()
        while self._looks and self._looks[0][0] <= now:
            _, _, bucket = heapq.heappop(self._looks)
            if self._buckets.get(bucket.key) is not bucket:
                continue
            if bucket.calling or bucket.asked_at + IDLE_S > now:
                self._look_at(bucket, max(now + 0.25, bucket.asked_at + IDLE_S))
            elif bucket.owes_nothing(self._share(), now):
                del self._buckets[bucket.key]
            elif bucket.only_reports(now) and bucket.asked_at + REPORT_S > now:
                self._look_at(bucket, bucket.asked_at + REPORT_S)
            else:
                self._give_back(bucket)
                self._look_at(bucket, now + 1.0)

    def give_all_back(self) -> None:
        """Make a call due for every lease, for a worker that is about to end."""
        for bucket in self._buckets.values():
            if not bucket.calling and (bucket.left or bucket.used):
                self._give_back(bucket)

    def _add(self, key: str, rate: Rate, now: float) -> Bucket:
        if len(self._buckets) >= self._max_keys:
            self._make_room()
        bucket = Bucket(key, rate, self._strange_seq(), measured_at=now, asked_at=now)
        self._buckets[key] = bucket
        self._look_at(bucket, now + IDLE_S)
        return bucket

    def _make_room(self) -> None:
        while self._looks:
            _, _, oldest = heapq.heappop(self._looks)
            if self._buckets.get(oldest.key) is oldest:
                del self._buckets[oldest.key]
                if not oldest.calling and (oldest.left or oldest.used):
                    self._give_back(oldest)
                return

    def _look_at(self, bucket: Bucket, when: float) -> None:
        heapq.heappush(self._looks, (when, next(self._ties), bucket))

    def _give_back(self, bucket: Bucket) -> None:
        if self._reachable():
            bucket.leaving = True
            self._call(bucket)

    def _call(self, bucket: Bucket) -> None:
        if not bucket.calling:
            bucket.calling = True
            self._due.append(bucket)
            if len(self._due) == 1:
                self._wake()

    def _prepare(self, bucket: Bucket, now: float) -> Call:
        if now >= bucket.forget_at:
            bucket.used = 0
        if bucket.leaving or now >= bucket.good_until:
            bucket.left = 0
        wanted = sum(cost for cost, _ in bucket.waiting)
        numbers = (
            bucket.used,
            bucket.left,
            max(0, wanted - bucket.left),
            0 if bucket.leaving else bucket.ahead(now),
        )
        debt = bucket.local_level(self._share(), now)
        rate = bucket.rate
        args = (
            self._worker,
            b"%d" % bucket.seq,
            *(b"%d" % number for number in numbers),
            bucket.seen,
            b"%.6f" % debt,
            b"%d" % rate.capacity,
            b"%.17g" % (rate.tau_s * 1e6),
            b"%d" % (LEASE_S * 1e6),
        )
        return Call(bucket, args, now, bucket.used, debt, len(bucket.waiting))

    def _spend(self, bucket: Bucket, cost: int, now: float) -> Admission:
        bucket.left = left = bucket.left - cost
        bucket.used += cost
        bucket.passed += cost
        if left <= bucket.renew_below or now >= bucket.renew_at:
            self._renew(bucket)
        rate = bucket.rate
        return Admission(True, rate, left + bucket.spare, rate.reset_s, 0)

    def _renew(self, bucket: Bucket) -> None:
        bucket.renew_below, bucket.renew_at = -1, math.inf
        if bucket.reserves_ahead and self._reachable():
            self._call(bucket)

    def _refuse(self, bucket: Bucket, cost: int, now: float) -> Admission:
        # A hundredth on top, lest rounding find the last token not quite drained.
        seconds = max(1, math.ceil(bucket.wait_s(cost, now) + 0.01))
        return Admission(False, bucket.rate, bucket.left, seconds, seconds)

    def _without_redis(self, bucket: Bucket, cost: int, now: float) -> Admission:
        if cost <= bucket.left and now < bucket.good_until:
            return self._spend(bucket, cost, now)
        return self._locally(bucket, cost, now)

    def _locally(self, bucket: Bucket, cost: int, now: float) -> Admission:
        rate, share = bucket.rate, self._share()
        level = bucket.local_level(share, now)
        room = share * rate.capacity - level
        if cost <= room:
            bucket.debt, bucket.debt_at = level + cost, now
            return Admission(True, rate, int(room - cost), rate.reset_s, 0)
        seconds = max(1, math.ceil((cost - room) * rate.tau_s / share))
        return Admission(False, rate, max(0, int(room)), seconds, seconds)

    def _share(self) -> float:
        return min(_SHARE_MAX, 1 / self.workers)

    def _strange_seq(self) -> int:
        return self._dice.getrandbits(50)


def _tell(told: list[tuple[Waiter, Admission]]) -> None:
    errors: list[Exception] = []
    for waiter, admission in told:
        try:
            waiter(admission)
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup("waiters of the limiter failed", errors)
