"""Never more than the limit, over all workers: take.lua and the workers' side together."""

import sys
from collections.abc import Iterator

import pytest

from service.model.rate import Admission, Rate
from tests.contract.access.limiter_world import STORMY, TAKE, Client, Faults, World
from tests.fixtures.redis_server import redis_server

SEEDS = range(40)
REQUESTS = 400
NEAR = 1e-6


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with redis_server() as server:
        client = Client(server)
        yield client
        client.close()


def worst_excess(client: Client, seed: int, faults: Faults, take: bytes = TAKE) -> float:
    world = World(client, seed, faults, take)
    world.traffic(REQUESTS)
    world.settle()
    assert world.admitted
    return world.worst - world.rate.capacity


@pytest.mark.parametrize("faults", [Faults(drift=0.01), STORMY, Faults(clock_back=0.02)])
def test_the_true_level_never_passes_the_capacity(client: Client, faults: Faults) -> None:
    for seed in SEEDS:
        assert worst_excess(client, seed, faults) <= NEAR, seed


@pytest.mark.parametrize(
    ("rule", "without"),
    [
        (b"tat = math.max(tat, t) + lease[1] * tau", b""),
        (b"tat = math.max(tat, t) + u * tau", b""),
        (b"reserved + lease[1]", b"reserved"),
        (b" - reserved - have", b" - reserved"),
    ],
)
def test_without_any_one_rule_the_limit_is_broken(
    client: Client, rule: bytes, without: bytes
) -> None:
    assert TAKE.count(rule) == 1
    broken = TAKE.replace(rule, without)
    storms = (STORMY, Faults(crash=0.03), Faults())
    assert any(
        worst_excess(client, seed, faults, broken) > 0.5 for seed in SEEDS for faults in storms
    )


def take(world: World, *numbers: int) -> list[int]:
    """One call of the bare script by worker w: seq, used, keep, now, ahead; then n, free, seq."""
    clock = (b"%d" % world.now, b"0")
    args = (b"w", *(b"%d" % number for number in numbers), b"0", b"0", b"100", b"600000")
    reply = world.client(b"EVALSHA", world.take, b"2", *world.keys, *args, b"10000000", *clock)
    return [int(reply[0]), int(float(reply[1])), int(reply[3])]


def test_a_known_lease_is_settled_by_its_use(client: Client) -> None:
    world = World(client, 1, Faults())
    n, free, seq = take(world, 5, 0, 0, 10, 0)
    assert (n, free, seq) == (10, 90, 6)
    assert take(world, seq, 3, 7, 0, 0) == [7, 90, 7]
    assert take(world, 7, 1, 0, 0, 0) == [0, 96, 8]


def test_a_strange_number_pays_for_the_whole_lease_and_all_that_was_used(client: Client) -> None:
    world = World(client, 1, Faults())
    take(world, 5, 0, 0, 10, 0)
    assert take(world, 777, 4, 6, 1, 0) == [1, 100 - 14 - 1, 778]


def test_an_ended_lease_counts_as_used(client: Client) -> None:
    world = World(client, 1, Faults())
    _, _, seq = take(world, 5, 0, 0, 40, 0)
    world.now += 11
    assert take(world, seq, 0, 40, 0, 0) == [0, 60, seq + 1]


def test_every_span_of_time_obeys_the_formula(client: Client) -> None:
    world = World(client, 1, STORMY, rate=Rate(100, 60))
    world.traffic(3 * REQUESTS)
    times = [(when, cost) for when, cost in world.admitted]
    for first in range(len(times)):
        passed = 0
        for when, cost in times[first:]:
            passed += cost
            assert passed <= 100 + (when - times[first][0]) * 100 / 60 + NEAR


def test_a_loss_of_all_data_costs_at_most_a_quarter_more(client: Client) -> None:
    for seed in SEEDS:
        world = World(client, seed, Faults(drift=0.01))
        world.traffic(REQUESTS // 2)
        world.lose_data()
        world.traffic(REQUESTS // 2)
        assert world.worst <= 1.25 * world.rate.capacity + NEAR, seed


def test_without_the_start_level_a_loss_costs_more(client: Client) -> None:
    forgetful = TAKE.replace(b"0.75 * capacity", b"0 * capacity").replace(
        b"math.max(tat, seen)", b"tat"
    )
    excesses = []
    for seed in SEEDS:
        world = World(client, seed, Faults(), forgetful)
        world.traffic(REQUESTS // 2)
        world.lose_data()
        world.traffic(REQUESTS // 2)
        excesses.append(world.worst / world.rate.capacity)
    assert max(excesses) > 1.3


def test_an_outage_costs_at_most_each_workers_share(client: Client) -> None:
    passed_without_redis = 0
    for seed in SEEDS:
        workers = World(client, seed, Faults()).workers
        world = World(client, seed, Faults(drift=0.01), share_of=len(workers))
        world.traffic(REQUESTS // 2)
        world.reachable = False
        before = len(world.admitted)
        world.traffic(REQUESTS // 2)
        passed_without_redis += len(world.admitted) - before
        world.reachable = True
        world.traffic(REQUESTS // 2)
        world.settle()
        extra = min(0.25, 1 / len(workers)) * len(workers)
        assert world.worst <= (1 + extra) * world.rate.capacity + NEAR, seed
    assert passed_without_redis > 0


def test_tokens_admitted_without_redis_are_charged_on_its_return(client: Client) -> None:
    world = World(client, 3, Faults(), share_of=4, rate=Rate(100, 60))
    world.reachable = False
    for _ in range(40):
        world.ask(1, worker=0)
    assert len(world.admitted) == 25
    world.reachable = True
    for _ in range(100):
        world.ask(1, worker=0)
    world.run_until(world.now + 1)
    assert len(world.admitted) == 100


def first_refusal(world: World, cost: int) -> Admission | None:
    """Ask faster than the bucket drains, until it says no."""
    refused: list[Admission] = []
    for _ in range(4 * world.rate.capacity):
        world.run_until(world.now + world.rate.tau_s / 20)
        if refused:
            return refused[0]
        world.ask(cost, lambda answer: None if answer.allowed else refused.append(answer))
    return None


def test_the_single_request_after_retry_after_passes(client: Client) -> None:
    tried = 0
    for seed in SEEDS:
        world = World(client, seed, Faults())
        for _ in range(8):
            cost = world.rng.choice([1, 1, 1, max(1, world.rate.capacity // 3)])
            refusal = first_refusal(world, cost)
            if refusal is None:
                continue
            answers: list[Admission] = []
            world.run_until(world.now + refusal.retry_after_s)
            world.ask(cost, answers.append)
            world.run_until(world.now + 0.5)
            assert answers[0].allowed, (seed, refusal)
            tried += 1
    assert tried > 100


def test_retry_after_counts_on_leases_that_idle_workers_return(client: Client) -> None:
    world = World(client, 4, Faults(), rate=Rate(5, 60))
    world.workers = [world.new_worker() for _ in range(6)]
    answers: list[Admission] = []
    for worker in range(6):
        world.ask(1, answers.append, worker=worker)
        world.run_until(world.now + 0.5)
    assert [answer.allowed for answer in answers] == [True] * 5 + [False]
    world.run_until(world.now - 0.5 + answers[5].retry_after_s)
    world.ask(1, answers.append, worker=2)
    world.run_until(world.now + 0.5)
    assert answers[6].allowed


def test_a_refused_batch_leaves_single_requests_their_tokens(client: Client) -> None:
    world = World(client, 5, Faults(), rate=Rate(100, 60))
    answers: list[Admission] = []
    world.ask(60, answers.append, worker=0)
    world.run_until(world.now + 1)
    world.ask(60, answers.append, worker=0)
    world.run_until(world.now + 1)
    world.ask(1, answers.append, worker=0)
    world.run_until(world.now + 1)
    assert [answer.allowed for answer in answers] == [True, False, True]
    # 20 more must drain, and nothing did while the first 60 were in a lease.
    assert answers[1].retry_after_s == 13


def test_simultaneous_requests_pass_exactly_the_free_capacity(client: Client) -> None:
    world = World(client, 7, Faults(), rate=Rate(100, 60))
    for _ in range(400):
        world.ask(1)
    world.run_until(world.now + 0.2)
    assert len(world.admitted) == 100
    assert world.answers == 400


def test_a_steady_load_above_the_rate_passes_the_rate(client: Client) -> None:
    world = World(client, 8, Faults(), rate=Rate(100, 60))
    for _ in range(1500):
        world.run_until(world.now + 0.4)
        world.ask(1)
    assert 1090 <= len(world.admitted) <= 1100


def test_idle_keys_are_given_back_and_forgotten(client: Client) -> None:
    world = World(client, 9, Faults(), rate=Rate(6000, 60))
    for _ in range(300):
        world.run_until(world.now + 0.01)
        world.ask(1)
    calls = world.calls
    assert calls < 150
    world.run_until(world.now + 12)
    assert [len(worker.quotas) for worker in world.workers] == [0] * len(world.workers)
    passed = len(world.admitted)
    for _ in range(6000):
        world.ask(1)
    world.run_until(world.now + 0.2)
    assert len(world.admitted) - passed == 6000


def test_keys_are_bounded_in_bytes(client: Client) -> None:
    world = World(client, 10, Faults())
    worker = world.workers[0]
    worker._max_bytes = 100_000
    for n in range(1000):
        worker.admit(f"key {n}".ljust(20 if n < 500 else 300), world.rate, 1, lambda _: None)
        assert worker.held_bytes <= 100_000
        assert len(worker.quotas) >= min(n, 60)
    counted = sum(1200 + sys.getsizeof(quota.key) for quota in worker.quotas)
    assert worker.held_bytes == counted


@pytest.mark.parametrize("age_s", [0.0, 20.0, 44.0, 60.0])
def test_a_key_absent_from_young_data_starts_filled(client: Client, age_s: float) -> None:
    world = World(client, 11, Faults(), rate=Rate(100, 60))
    client(b"SET", world.keys[1], b"%d" % (world.now * 1e6))
    world.run_until(world.now + age_s)
    for _ in range(200):
        world.ask(1)
    world.run_until(world.now + 0.2)
    expected = 100 - max(0.0, 75 - age_s / 0.6)
    assert abs(len(world.admitted) - expected) <= 1
