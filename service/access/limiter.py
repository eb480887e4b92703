"""Rate limits over Redis: sends the calls of ``quota_leases`` with the pipeline's writes."""

import asyncio
import secrets
from functools import partial
from typing import Any

from service.access.busiest import busiest
from service.access.quota import Call, Reply
from service.access.quota_leases import QuotaLeases
from service.cache.pipeline import RedisPipeline, Script
from service.model.errors import CacheUnavailable, Overloaded
from service.model.rate import Admission, Rate

TAKE = Script.load("take")
HEARTBEAT = Script.load("heartbeat")
# Loaded on every new connection, because a call must not get NOSCRIPT.
SCRIPTS = (TAKE, HEARTBEAT)

KEY_PREFIX = b"limit:"
WORKERS_KEY = b"limit-workers:"
BORN_KEY = b"limit-born:"

_SWEEP_S = 0.25
_HEARTBEAT_S = 2.0
# A worker may miss several heartbeats before it is forgotten.
_SILENT_S = 8


class Limiter:
    """The rate limits of one worker; belongs to the running event loop.

    ``pipeline`` None means that there is no Redis at all. ``workers`` is how many share the
    limits as long as Redis has not said; ``max_bytes`` is how much the keys in memory may take.
    """

    def __init__(
        self, pipeline: RedisPipeline | None, workers: int = 1, max_bytes: int = 64 << 20
    ) -> None:
        self._pipeline = pipeline
        self._worker = secrets.token_hex(8)
        clock = asyncio.get_running_loop().time
        own = (self._worker, clock, self._wake, self._reachable)
        self.leases = QuotaLeases(*own, workers=workers, max_bytes=max_bytes)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def workers(self) -> int:
        """How many workers share the limits, as Redis last reported."""
        return self.leases.workers

    @property
    def keys(self) -> int:
        """How many keys this worker keeps in memory."""
        return len(self.leases.quotas)

    def busiest(self, at_most: int) -> list[tuple[str, float, float]]:
        """See access/busiest.py."""
        return busiest(self.leases.quotas, asyncio.get_running_loop().time(), at_most)

    @property
    def local(self) -> bool:
        """Whether Redis cannot be reached, so that this worker enforces its share of each limit."""
        return not self._reachable()

    async def admission(self, key: str, rate: Rate, cost: int = 1) -> Admission:
        """Count a request, with a call to Redis if the lease does not suffice.

        ``cost`` is 1 to ``rate.capacity``, else ValueError. A request cancelled while waiting is
        still charged.
        """
        future: asyncio.Future[Admission] | None = None

        def settle(admission: Admission) -> None:
            if future is not None and not future.done():
                future.set_result(admission)

        admission = self.leases.admit(key, rate, cost, settle)
        if admission is None:
            future = asyncio.get_running_loop().create_future()
            admission = await future
        return admission

    def start(self) -> None:
        """Begin to return idle leases and to send heartbeats to Redis."""
        self._tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._live())]

    async def close(self) -> None:
        """Stop, and return all leases if Redis can be reached; close the pipeline afterwards."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.leases.give_all_back()
        if self._pipeline is not None and self._pipeline.available:
            self._send_due()
            try:
                await self._pipeline.send(
                    (b"ZREM", WORKERS_KEY + self._pipeline.run_name, self._worker.encode())
                )
            except (CacheUnavailable, Overloaded):
                return

    def _reachable(self) -> bool:
        return self._pipeline is not None and self._pipeline.available

    def _wake(self) -> None:
        if self._pipeline is not None:
            self._pipeline.before_write(self._send_due)

    def _send_due(self) -> None:
        assert self._pipeline is not None
        for call in self.leases.due_calls():
            # Because a subject may be any text, even half a surrogate pair.
            run, key = self._pipeline.run_name, call.quota.key.encode(errors="surrogatepass")
            keys = (KEY_PREFIX + run + key, BORN_KEY + run)
            try:
                self._pipeline.run(TAKE, keys, call.args, partial(self._answered, call))
            except (CacheUnavailable, Overloaded):
                self.leases.failed(call, sent=False)

    def _answered(self, call: Call, reply: Any) -> None:
        if isinstance(reply, CacheUnavailable):
            self.leases.failed(call, sent=True)
        else:
            self.leases.replied(call, parse_reply(reply, call.quota.rate))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.leases.sweep()

    async def _live(self) -> None:
        while True:
            try:
                if self._pipeline is not None:
                    self.leases.workers = await self._pipeline.run_future(
                        HEARTBEAT,
                        (WORKERS_KEY + self._pipeline.run_name, BORN_KEY + self._pipeline.run_name),
                        (self._worker.encode(), b"%d" % _SILENT_S),
                    )
            except (CacheUnavailable, Overloaded):
                pass  # the last value seen stays
            await asyncio.sleep(_HEARTBEAT_S)


def parse_reply(reply: list[Any], rate: Rate) -> Reply:
    """The reply of ``take.lua``; fractions are text, because Redis truncates Lua numbers."""
    n, free, tat, seq, t, others = reply
    level = max(0.0, (float(tat) - float(t)) / (rate.tau_s * 1e6))
    return Reply(n, float(free), tat, seq, level, others)
