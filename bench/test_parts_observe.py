"""What a near hit pays for being counted and timed: `pytest bench/test_parts_observe.py`."""

from time import perf_counter

from pytest_benchmark.fixture import BenchmarkFixture

from service.observe.instruments import Registry

REGISTRY = Registry()
SENT = REGISTRY.counter("sent_total", "As the hot path counts.").of()
TIMES = [REGISTRY.histogram("seconds", "As the hot path times.").of()] * 6


def test_thousand_near_hits_counted_and_timed(benchmark: BenchmarkFixture) -> None:
    """All that http/hot_get.py does for it, a thousand times: the mean in ms is µs for one."""
    status, body = 200, bytes(300)

    def thousand() -> None:
        for _ in range(1000):
            began = perf_counter()
            SENT.value += len(body)
            TIMES[status // 100].observe(perf_counter() - began)

    benchmark(thousand)


def test_thousand_times_nothing(benchmark: BenchmarkFixture) -> None:
    """The loop itself, to be taken off."""

    def thousand() -> None:
        for _ in range(1000):
            pass

    benchmark(thousand)
