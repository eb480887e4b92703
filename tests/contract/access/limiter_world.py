"""A simulated world of workers around the real take.lua: invented time, latency and faults.

The script runs in a real Redis with its clock replaced by ours. The reference is one bucket
that sees every admission at the moment it was given.
"""

import heapq
import itertools
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hiredis

from service.access.limiter import parse_reply
from service.access.quota import Call
from service.access.quota_leases import QuotaLeases
from service.cache.connection import encode
from service.cache.pipeline import Script
from service.model.rate import Admission, Rate
from tests.fixtures.redis_server import RedisServer

DEADLINE_S = 0.25
KEY = "one"


def with_our_clock(source: bytes) -> bytes:
    """The script with TIME taken from its last two arguments."""
    ours = source.replace(b"redis.call('TIME')", b"{ARGV[#ARGV - 1], ARGV[#ARGV]}")
    assert ours != source
    return ours


TAKE = with_our_clock(Script.load("take").source)


class Client:
    """A minimal blocking client, because each of many worlds calls Redis a few hundred times."""

    def __init__(self, server: RedisServer) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket))
        self._reader = hiredis.Reader(notEnoughData=self)

    def __call__(self, *command: bytes) -> Any:
        self._socket.sendall(encode(command))
        while (reply := self._reader.gets()) is self:
            self._reader.feed(self._socket.recv(65536))
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def close(self) -> None:
        self._socket.close()


@dataclass
class Faults:
    """Chances per call, and what else may befall a world."""

    lost_request: float = 0.0
    lost_reply: float = 0.0
    late: float = 0.0  # carried out long after its deadline
    crash: float = 0.0  # chance per request that its worker starts anew
    clock_back: float = 0.0  # chance per request that Redis's clock is set back
    drift: float = 0.0  # of workers' clocks, at most


STORMY = Faults(lost_request=0.05, lost_reply=0.05, late=0.05, crash=0.005, drift=0.01)


class World:
    """``share_of`` is the number of workers that each believes in: huge means that none passes
    anything without Redis."""

    def __init__(
        self,
        client: Client,
        seed: int,
        faults: Faults,
        take: bytes = TAKE,
        share_of: int = 10**9,
        rate: Rate | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.client = client
        self.take = client(b"SCRIPT", b"LOAD", take)
        self.faults = faults
        self.share_of = share_of
        self.rate = rate or self.rng.choice(
            [Rate(100, 60), Rate(100, 60, 20), Rate(6000, 60), Rate(10, 60), Rate(50, 1, 200)]
        )
        self.keys = (b"bucket:%d" % seed, b"born:%d" % seed)
        self.now = 1_000_000.0
        self.redis_offset = 0.0
        self.reachable = True
        self.names = itertools.count()
        self.order = itertools.count()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.calls = 0
        self.level = self.worst = 0.0
        self.level_at = self.now
        self.admitted: list[tuple[float, int]] = []
        self.answers = 0
        self.asked = 0
        self.lose_data()
        client(b"SET", self.keys[1], b"0")  # this Redis is old: nothing was lost
        self.workers = [self.new_worker() for _ in range(self.rng.randint(1, 6))]

    def at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self.order), event))

    def run_until(self, end: float) -> None:
        while self.events and self.events[0][0] <= end:
            self.now, _, event = heapq.heappop(self.events)
            event()
        self.now = end

    def new_worker(self) -> QuotaLeases:
        pace = 1 + self.rng.uniform(-self.faults.drift, self.faults.drift)
        offset = self.rng.uniform(0, 1000)
        leases: list[QuotaLeases] = []
        worker = QuotaLeases(
            f"w{next(self.names)}",
            clock=lambda: self.now * pace + offset,
            wake=lambda: self.at(self.now + 0.0002, lambda: self.send(leases[0])),
            reachable=lambda: self.reachable,
            workers=self.share_of,
            rng=self.rng,
        )
        leases.append(worker)

        def sweep() -> None:
            if worker in self.workers:
                worker.sweep()
                self.at(self.now + 0.25, sweep)

        self.at(self.now + 0.25, sweep)
        return worker

    def send(self, worker: QuotaLeases) -> None:
        for call in worker.due_calls():
            self.calls += 1
            self.carry(worker, call)

    def carry(self, worker: QuotaLeases, call: Call) -> None:
        fate = self.rng.random()
        there, back = (self.rng.uniform(0.0001, 0.12) ** 2 for _ in range(2))
        deadline = self.now + DEADLINE_S
        f = self.faults
        if not self.reachable or fate < f.lost_request:
            self.at(deadline, lambda: worker.failed(call, sent=True))
        elif fate < f.lost_request + f.lost_reply:
            self.at(self.now + there, lambda: self.execute(call))
            self.at(deadline, lambda: worker.failed(call, sent=True))
        elif fate < f.lost_request + f.lost_reply + f.late:
            self.at(deadline, lambda: worker.failed(call, sent=True))
            self.at(deadline + self.rng.uniform(0, 12), lambda: self.execute(call))
        else:
            self.at(self.now + there, lambda: self.execute_and_reply(worker, call, back))

    def execute(self, call: Call) -> Any:
        micros = int((self.now + self.redis_offset) * 1e6)
        clock = (b"%d" % (micros // 1_000_000), b"%d" % (micros % 1_000_000))
        return self.client(b"EVALSHA", self.take, b"2", *self.keys, *call.args, *clock)

    def lose_data(self) -> None:
        self.client(b"DEL", *self.keys)

    def execute_and_reply(self, worker: QuotaLeases, call: Call, back: float) -> None:
        reply = parse_reply(self.execute(call), call.quota.rate)
        self.at(self.now + back, lambda: worker.replied(call, reply))

    def ask(
        self, cost: int, seen: Callable[[Admission], None] = lambda _: None, worker: int = -1
    ) -> None:
        """One request at any worker, or at number ``worker``."""
        self.asked += 1
        if self.rng.random() < self.faults.crash:
            self.workers[self.rng.randrange(len(self.workers))] = self.new_worker()
        if self.rng.random() < self.faults.clock_back:
            self.redis_offset -= self.rng.uniform(0, 30)
        chosen = self.workers[worker] if worker >= 0 else self.rng.choice(self.workers)

        def answered(admission: Admission) -> None:
            self.answers += 1
            if admission.allowed:
                self.record(cost)
            seen(admission)

        admission = chosen.admit(KEY, self.rate, cost, answered)
        if admission is not None:
            answered(admission)

    def record(self, cost: int) -> None:
        drained = (self.now - self.level_at) / self.rate.tau_s
        self.level = max(0.0, self.level - drained) + cost
        self.level_at = self.now
        self.worst = max(self.worst, self.level)
        self.admitted.append((self.now, cost))

    def traffic(self, requests: int) -> None:
        """Phases of every intensity: far below the rate, around it, bursts, silence."""
        drain = 1 / self.rate.tau_s
        left = requests
        while left > 0:
            phase = min(left, self.rng.choice([5, 20, 60, 150]))
            pace = drain * self.rng.choice([0.3, 0.9, 1.2, 3, 10, 100])
            sticky = self.rng.choice([-1, -1, self.rng.randrange(len(self.workers))])
            for _ in range(phase):
                self.run_until(self.now + self.rng.expovariate(pace))
                large = self.rng.random() < 0.02
                cost = self.rng.randint(1, max(1, self.rate.capacity // 2)) if large else 1
                self.ask(cost, worker=sticky)
            left -= phase
            if self.rng.random() < 0.3:
                self.run_until(self.now + self.rng.uniform(0, 15))

    def settle(self) -> None:
        """Let everything in flight end; every request must have had its answer."""
        self.run_until(self.now + 1.0)
        assert self.answers == self.asked
