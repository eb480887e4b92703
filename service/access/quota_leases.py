"""One worker's side of rate limits that all workers share, each a leaky bucket.

A quota's level, kept in Redis, drains by ``Rate.quota`` tokens per ``window_s``; its maximum is
``capacity``. Each worker reserves tokens as a lease and spends them without a call. This module
uses an injected clock and does no I/O: ``due_calls`` returns the calls of the script ``take.lua``,
``replied`` and ``failed`` take their outcome. All workers together admit no more than one leaky
bucket of that size would.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Collection

from service.access.quota import IDLE_S, LEASE_S, REPORT_S, Call, Quota, Reply, Waiter, notify
from service.model.rate import Admission, Rate

_REFUSE_MIN_S, _REFUSE_MAX_S = 0.005, 0.1
_SHARE_MAX = 0.25
_SEQ_BITS = 50


class QuotaLeases:
    """The quotas of one worker.

    ``worker`` is unique per process start. ``wake`` is called when the first call became due.
    ``reachable`` returns whether Redis can be called; otherwise each worker enforces its
    share of the limit, a quarter at most. ``workers`` is how many share it, kept up to date by
    the owner. ``max_bytes`` bounds memory: beyond it the key that has waited longest for a look
    gives its lease back and is forgotten. ``held_bytes`` is what the quotas take now.
    """

    def __init__(
        self,
        worker: str,
        clock: Callable[[], float],
        wake: Callable[[], None],
        reachable: Callable[[], bool],
        *,
        workers: int = 1,
        max_bytes: int = 64 << 20,
        rng: random.Random | None = None,
    ) -> None:
        self._worker = worker.encode()
        self._clock = clock
        self._wake = wake
        self._reachable = reachable
        self.workers = workers
        self._max_bytes = max_bytes
        self.held_bytes = 0
        self._rng = rng or random.SystemRandom()
        self.by_key: dict[str, Quota] = {}
        self._due: list[Quota] = []
        # Heap of (time of the next idle check, tie-break, quota)
        self._looks: list[tuple[float, int, Quota]] = []
        self._ties = itertools.count()

    @property
    def quotas(self) -> Collection[Quota]:
        return self.by_key.values()

    def spend(self, key: str, rate: Rate) -> Admission | None:
        """Spend one token of the current lease; None, without effect: ``admit`` must decide."""
        quota = self.by_key.get(key)
        if quota is None or quota.rate is not rate or quota.left < 1:
            return None
        now = self._clock()
        if now >= quota.good_until:
            return None
        quota.asked_at = now
        return self._spend(quota, 1, now)

    def admit(self, key: str, rate: Rate, cost: int, waiter: Waiter) -> Admission | None:
        """The admission, or None: then ``waiter`` is called with it exactly once, later.

        ``cost`` is 1 to ``rate.capacity`` tokens. Raises ValueError for more, which could never
        pass.
        """
        now = self._clock()
        quota = self.by_key.get(key)
        if quota is None:
            quota = self._add(key, rate, now)
        quota.asked_at = now
        quota.rate = rate
        if cost <= quota.left and now < quota.good_until:
            return self._spend(quota, cost, now)
        if cost > rate.capacity:
            raise ValueError("a cost above the capacity can never pass")
        if now < quota.refuse_until:
            return self._refuse(quota, cost, now)
        if not quota.calling and not self._reachable():
            return self._locally(quota, cost, now)
        quota.waiting.append((cost, waiter))
        self._call(quota)
        return None

    def give_back(self, key: str) -> None:
        """Undo the admission of one token; no effect if it was already reported to Redis."""
        quota = self.by_key.get(key)
        if quota is None:
            return
        now = self._clock()
        if quota.used and not quota.calling and now < quota.good_until:
            quota.used -= 1
            quota.left += 1
        elif quota.debt:
            quota.debt, quota.debt_at = max(0.0, quota.local_level(self._share(), now) - 1), now

    def due_calls(self) -> list[Call]:
        """The calls to send now, at most one per quota at a time. Each must end in ``replied``
        or ``failed``.
        """
        due, self._due = self._due, []
        now = self._clock()
        return [self._prepare(quota, now) for quota in due]

    def replied(self, call: Call, reply: Reply) -> None:
        """Redis ran the call."""
        now = self._clock()
        quota = call.quota
        quota.calling = quota.leaving = False
        quota.take(call, reply, now, self._share())
        answers: list[tuple[Waiter, Admission]] = []
        late: list[tuple[int, Waiter]] = []
        refused = False
        waiting, quota.waiting = quota.waiting, []
        for position, (cost, waiter) in enumerate(waiting):
            if cost <= quota.left:
                answers.append((waiter, self._spend(quota, cost, now)))
            elif position < call.waiting or refused:
                refused = True
                answers.append((waiter, self._refuse(quota, cost, now)))
            else:
                late.append((cost, waiter))
        if refused:
            wait = quota.wait_s(1, now)
            quota.refuse_until = now + max(_REFUSE_MIN_S, min(wait, _REFUSE_MAX_S))
        if late:
            quota.waiting = late
            self._call(quota)
        notify(answers)

    def failed(self, call: Call, *, sent: bool) -> None:
        """No reply arrived, or (``sent`` False) the call was never sent: decide without Redis."""
        now = self._clock()
        quota = call.quota
        quota.calling = quota.leaving = False
        if sent:
            # Redis may have run it or may run it later. A sequence number that Redis did not issue
            # makes it charge our whole lease.
            quota.left = 0
            quota.seq = self._rng.getrandbits(_SEQ_BITS)
        waiting, quota.waiting = quota.waiting, []
        notify([(waiter, self._without_redis(quota, cost, now)) for cost, waiter in waiting])

    def sweep(self) -> None:
        """Return the leases of idle keys and forget keys with nothing left to report."""
        now = self._clock()
        while self._looks and self._looks[0][0] <= now:
            _, _, quota = heapq.heappop(self._looks)
            if self.by_key.get(quota.key) is not quota:
                continue
            if quota.calling or quota.asked_at + IDLE_S > now:
                self._look_at(quota, max(now + 0.25, quota.asked_at + IDLE_S))
            elif quota.owes_nothing(self._share(), now):
                self._forget(quota)
            elif quota.only_reports(now) and quota.asked_at + REPORT_S > now:
                self._look_at(quota, quota.asked_at + REPORT_S)
            else:
                self._give_back(quota)
                self._look_at(quota, now + 1.0)

    def give_all_back(self) -> None:
        """Make a call due for every lease, because the worker is about to end."""
        for quota in self.by_key.values():
            if not quota.calling and (quota.left or quota.used):
                self._give_back(quota)

    def _add(self, key: str, rate: Rate, now: float) -> Quota:
        quota = Quota(key, self._rng.getrandbits(_SEQ_BITS), measured_at=now)
        quota.rate, quota.asked_at = rate, now
        self.held_bytes += quota.held_bytes
        while self.held_bytes > self._max_bytes and self._make_room():
            pass
        self.by_key[key] = quota
        self._look_at(quota, now + IDLE_S)
        return quota

    def _make_room(self) -> bool:
        while self._looks:
            _, _, oldest = heapq.heappop(self._looks)
            if self.by_key.get(oldest.key) is oldest:
                self._forget(oldest)
                if not oldest.calling and (oldest.left or oldest.used):
                    self._give_back(oldest)
                return True
        return False

    def _forget(self, quota: Quota) -> None:
        del self.by_key[quota.key]
        self.held_bytes -= quota.held_bytes

    def _look_at(self, quota: Quota, when: float) -> None:
        heapq.heappush(self._looks, (when, next(self._ties), quota))

    def _give_back(self, quota: Quota) -> None:
        if self._reachable():
            quota.leaving = True
            self._call(quota)

    def _call(self, quota: Quota) -> None:
        if not quota.calling:
            quota.calling = True
            self._due.append(quota)
            if len(self._due) == 1:
                self._wake()

    def _prepare(self, quota: Quota, now: float) -> Call:
        if now >= quota.forget_at:
            quota.used = 0
        if quota.leaving or now >= quota.good_until:
            quota.left = 0
        wanted = sum(cost for cost, _ in quota.waiting)
        numbers = (
            quota.used,
            quota.left,
            max(0, wanted - quota.left),
            0 if quota.leaving else quota.ahead(now),
        )
        debt = quota.local_level(self._share(), now)
        rate = quota.rate
        args = (
            self._worker,
            b"%d" % quota.seq,
            *(b"%d" % number for number in numbers),
            quota.seen,
            b"%.6f" % debt,
            b"%d" % rate.capacity,
            b"%.17g" % (rate.tau_s * 1e6),
            b"%d" % (LEASE_S * 1e6),
        )
        return Call(quota, args, now, quota.used, debt, len(quota.waiting))

    def _spend(self, quota: Quota, cost: int, now: float) -> Admission:
        quota.left = left = quota.left - cost
        quota.used += cost
        quota.passed += cost
        if left <= quota.renew_below or now >= quota.renew_at:
            self._renew(quota)
        rate = quota.rate
        is_low = left < quota.low_below
        return Admission(True, rate, left + quota.spare, rate.reset_s, 0, is_low)

    def _renew(self, quota: Quota) -> None:
        quota.renew_below, quota.renew_at = -1, math.inf
        if quota.reserves_ahead and self._reachable():
            self._call(quota)

    def _refuse(self, quota: Quota, cost: int, now: float) -> Admission:
        # A hundredth more, because rounding could leave the last token not quite drained.
        seconds = max(1, math.ceil(quota.wait_s(cost, now) + 0.01))
        return Admission(False, quota.rate, quota.left, seconds, seconds)

    def _without_redis(self, quota: Quota, cost: int, now: float) -> Admission:
        if cost <= quota.left and now < quota.good_until:
            return self._spend(quota, cost, now)
        return self._locally(quota, cost, now)

    def _locally(self, quota: Quota, cost: int, now: float) -> Admission:
        rate, share = quota.rate, self._share()
        level = quota.local_level(share, now)
        room = share * rate.capacity - level
        if cost <= room:
            quota.debt, quota.debt_at = level + cost, now
            return Admission(True, rate, int(room - cost), rate.reset_s, 0)
        seconds = max(1, math.ceil((cost - room) * rate.tau_s / share))
        return Admission(False, rate, max(0, int(room)), seconds, seconds)

    def _share(self) -> float:
        return min(_SHARE_MAX, 1 / self.workers)
