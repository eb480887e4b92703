"""The near cache's own promises: bytes, life, tickets, in any order of events."""

from hypothesis import given, settings
from hypothesis import strategies as st

from service.cache.near import OVERHEAD_BYTES, TTL_S, NearCache

ROOM = 10 * (OVERHEAD_BYTES + 100)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def near(clock: Clock | None = None, max_bytes: int = ROOM) -> NearCache[str]:
    cache: NearCache[str] = NearCache(max_bytes, clock or Clock(), rng=lambda: 0.0)
    cache.subscribed(True)
    return cache


def key(number: int) -> bytes:
    return number.to_bytes(16)


def test_the_oldest_entries_are_evicted_first() -> None:
    cache = near()
    for number in range(15):
        assert cache.store(key(number), cache.ticket(), str(number), 100)
    assert [cache.get(key(n)) for n in range(15)] == [None] * 5 + [str(n) for n in range(5, 15)]
    assert cache.held_bytes == ROOM


def test_a_value_larger_than_the_cache_evicts_nothing() -> None:
    cache = near()
    assert cache.store(key(1), cache.ticket(), "small", 100)
    assert not cache.store(key(2), cache.ticket(), "large", ROOM)
    assert cache.get(key(1)) == "small"


def test_zero_bytes_turn_it_off() -> None:
    cache = near(max_bytes=0)
    assert not cache.on
    assert not cache.store(key(1), cache.ticket(), "v", 0)


def test_a_value_ends_with_its_ttl_and_frees_its_bytes() -> None:
    clock = Clock()
    cache = near(clock)
    cache.store(key(1), cache.ticket(), "v", 100)
    clock.now += TTL_S - 0.001
    assert cache.get(key(1)) == "v"
    clock.now += 0.001
    assert cache.get(key(1)) is None
    cache.store(key(2), cache.ticket(), "w", 100)
    assert len(cache) == 1
    assert cache.held_bytes == OVERHEAD_BYTES + 100


def test_more_messages_than_it_remembers_make_old_tickets_worthless() -> None:
    cache = near()
    old = cache.ticket()
    for number in range(10_001):
        cache.invalidate(key(number))
    assert not cache.store(key(99_999), old, "v", 1)
    assert cache.store(key(99_999), cache.ticket(), "v", 1)


events = st.one_of(
    st.tuples(st.sampled_from(["begin", "end", "message"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(["lost", "made", "time"]), st.just(0)),
)


@given(st.lists(events, max_size=60))
@settings(max_examples=500)
def test_nothing_doubtful_is_ever_held(history: list[tuple[str, int]]) -> None:
    """The model knows for every GET in flight whether anything made it doubtful."""
    clock = Clock()
    cache = near(clock)
    subscribed = True
    in_flight: dict[int, list[tuple[int, bool]]] = {n: [] for n in range(4)}
    held: dict[int, float] = {}
    for event, number in history:
        if event == "begin":
            in_flight[number].append((cache.ticket(), True))
        elif event == "end" and in_flight[number]:
            ticket, clean = in_flight[number].pop(0)
            assert cache.store(key(number), ticket, "v", 100) is (clean and subscribed)
            if clean and subscribed:
                held[number] = clock.now
        elif event == "message":
            cache.invalidate(key(number))
            held.pop(number, None)
            in_flight[number] = [(ticket, False) for ticket, _ in in_flight[number]]
        elif event in ("lost", "made"):
            subscribed = event == "made"
            cache.subscribed(subscribed)
            held.clear()
            for reads in in_flight.values():
                reads[:] = [(ticket, False) for ticket, _ in reads]
        elif event == "time":
            clock.now += TTL_S / 2
        for number in range(4):
            expected = number in held and clock.now < held[number] + TTL_S
            assert (cache.get(key(number)) is not None) is expected
        assert cache.held_bytes == len(cache) * (OVERHEAD_BYTES + 100)


def test_entries_stored_together_do_not_expire_together() -> None:
    clock = Clock()
    cache: NearCache[str] = NearCache(1 << 30, clock)
    cache.subscribed(True)
    for number in range(1000):
        cache.store(key(number), cache.ticket(), "v", 100)
    left = []
    for _ in range(10):
        clock.now += TTL_S / 10
        left.append(sum(cache.get(key(number)) is not None for number in range(1000)))
    ended = [before - after for before, after in zip([1000, *left], left, strict=False)]
    assert ended[:4] == [0] * 4
    assert max(ended) < 300
    assert left[-1] == 0
