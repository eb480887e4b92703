"""What the limit costs: ``python -m bench.bench_limiter``, figures in bench/results/limiter.json.

Redis operations per request come of a simulated clock over the real ``take.lua`` in a real
Redis: keys asked at 90 % of their rate, requests spread evenly over the workers. The cost of
knowing the caller and spending from a lease is timed in this process: a verified token's lookup
and a lease hit, as every request of the hot path pays them.
"""

import json
import statistics
import time
from pathlib import Path

from bench.test_parts import with_a_lease
from service.access.credentials import Authenticator
from service.model.rate import Admission, Rate
from tests.contract.access.limiter_world import Client, Faults, World
from tests.fixtures.api_keys import ApiKeyWorld
from tests.fixtures.redis_server import redis_server
from tests.fixtures.tokens import token, verifier

RESULTS = Path(__file__).parent / "results" / "limiter.json"
TARGET_US = 2.0
_RATES = (100, 60_000)
_WORKERS = (1, 8)
_MAX_REQUESTS = 20_000
_ROUNDS, _CALLS = 50, 10_000


def main() -> None:
    figures = {
        "token_and_lease_hit_us": token_and_lease_hit_us(),
        "target_us": TARGET_US,
        "redis_operations_per_request": [
            redis_operations(per_minute, workers) for per_minute in _RATES for workers in _WORKERS
        ],
    }
    text = json.dumps(figures, indent=2)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n")
    print(text)


def redis_operations(per_minute: int, workers: int) -> dict[str, float]:
    """A simulated minute (20,000 requests at most) of one key."""
    rate = Rate(per_minute, 60)
    with redis_server() as server:
        client = Client(server)
        world = World(client, 1, Faults(), rate=rate)
        world.workers = [world.new_worker() for _ in range(workers)]
        for _ in range(min(per_minute, _MAX_REQUESTS)):
            world.run_until(world.now + world.rng.expovariate(0.9 / rate.tau_s))
            world.ask(1)
        client.close()
    return {
        "per_minute": per_minute,
        "workers": workers,
        "operations": round(world.calls / world.asked, 4),
        "admitted_share": round(len(world.admitted) / world.asked, 4),
    }


def token_and_lease_hit_us() -> dict[str, float]:
    """Per request, the loop around it taken off: quickest and median of the rounds.

    On a machine that does other work too the quickest is the one to look at.
    """
    recall = Authenticator(verifier(("ES256", "k")), ApiKeyWorld().keys).recall
    lines, nothing = [f"Bearer {token()}"], ()
    recall(lines, nothing)
    key, rate = "account:subject:alice", Rate(10**9, 1)
    buckets = with_a_lease(key)

    def never(admission: Admission) -> None:
        raise AssertionError(admission)

    def hits() -> float:
        start = time.perf_counter()
        for _ in range(_CALLS):
            recall(lines, nothing)
            buckets.admit(key, rate, 1, never)
        return time.perf_counter() - start

    def empty() -> float:
        start = time.perf_counter()
        for _ in range(_CALLS):
            pass
        return time.perf_counter() - start

    rounds = sorted((hits() - empty()) / _CALLS * 1e6 for _ in range(_ROUNDS))
    return {"quickest": round(rounds[0], 3), "median": round(statistics.median(rounds), 3)}


if __name__ == "__main__":
    main()
