"""Versions that a worker has read from databases: kept for 15 seconds and no longer."""

from service.items.last_seen import LastSeen


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def key(number: int) -> bytes:
    return number.to_bytes(16)


def test_an_older_version_is_behind_for_fifteen_seconds() -> None:
    clock = Clock()
    seen = LastSeen(clock)
    seen.note(key(1), 1, 5)
    seen.note(key(1), 1, 4)
    assert seen.is_behind(key(1), 1, 4)
    assert not seen.is_behind(key(1), 1, 5)
    assert not seen.is_behind(key(1), 2, 1)
    assert not seen.is_behind(key(2), 1, 1)
    clock.now += 15
    assert not seen.is_behind(key(1), 1, 4)


def test_expired_versions_do_not_stay_in_memory() -> None:
    clock = Clock()
    seen = LastSeen(clock)
    for number in range(1000):
        seen.note(key(number), 1, 1)
    clock.now += 15
    for number in range(2000, 3000):
        seen.note(key(number), 1, 1)
        clock.now += 0.001
    assert len(seen) == 1000
    assert seen.is_behind(key(2999), 1, 0)


def test_there_are_never_more_than_fifty_thousand() -> None:
    seen = LastSeen(Clock())
    for number in range(50_010):
        seen.note(key(number), 1, 1)
    assert len(seen) == 50_000
    assert not seen.is_behind(key(9), 1, 0)
    assert seen.is_behind(key(10), 1, 0)
