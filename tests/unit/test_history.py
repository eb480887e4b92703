"""Hand-made histories: each kind of violation is seen, and what an unknown write excuses is not."""

import threading
from pathlib import Path

import pytest

from tests.fixtures.history import Kept, Operation, Recorder, Span, Surroundings, load
from tests.fixtures.history_checks import check

MS = 1_000_000
S = 1000 * MS
ITEM = {"k": Kept(1, "c1")}
EXACT = Surroundings(ITEM, near_ns=0)


def read(at: int, version: int | None, **told: object) -> Operation:
    """Takes a millisecond, by somebody else than the owner, with the bytes of its version."""
    values = {"content": f"c{version}" if version else "", "version": version} | told
    return Operation("k", "read", at, at + MS)._replace(**values)  # type: ignore[arg-type]


def write(at: int, version: int | None, **told: object) -> Operation:
    values = {"content": f"c{version}", "version": version, "owner": True} | told
    return Operation("k", "write", at, at + MS)._replace(**values)  # type: ignore[arg-type]


def delete(at: int, version: int | None, **told: object) -> Operation:
    return write(at, version, **({"kind": "delete", "content": ""} | told))


def promises(history: list[Operation], around: Surroundings = EXACT) -> list[str]:
    return [violation.promise for violation in check(history, around)]


LATE = 10 * MS


@pytest.mark.parametrize(
    ("promise", "history"),
    [
        ("P1", [write(0, 2), read(LATE, 1)]),
        ("P1", [delete(0, 2), read(LATE, 1)]),
        ("P1", [delete(0, None), read(LATE, 1)]),
        ("P1", [write(0, 2), read(LATE, 0)]),
        ("P1", [delete(0, 2), write(5 * MS, 3), read(LATE, 0)]),
        ("P3", [write(0, 2), read(LATE, 1, owner=True)]),
        ("P3", [write(0, 2), read(LATE, 0, owner=True)]),
        ("down", [write(0, 2, outcome="unknown"), read(5 * MS, 2, worker="w", content="c2"),
                  read(LATE, 1, worker="w")]),
        ("bytes", [read(0, 1, content="c7")]),
        ("bytes", [read(0, 1, told_key="other")]),
        ("bytes", [write(0, 2), read(LATE, 2, content="c1")]),
        ("bytes", [write(0, None, outcome="unknown", content="x"),
                   write(0, None, outcome="unknown", content="y"),
                   read(5 * MS, 2, content="x"), read(LATE, 2, content="y")]),
        ("phantom", [read(0, 2)]),
        ("phantom", [write(0, None, outcome="failed", content="c2"), read(LATE, 2)]),
        ("phantom", [read(0, 2), write(LATE, 2)]),
        ("lost", [write(0, 2), write(LATE, 2, content="c9")]),
    ],
)  # fmt: skip
def test_each_violation_is_found(promise: str, history: list[Operation]) -> None:
    assert promises(history) == [promise]
    assert promises(history[::-1]) == [promise], "order in the list means nothing"


@pytest.mark.parametrize(
    "history",
    [
        [write(0, 2), read(MS // 2, 1)],  # concurrent
        [write(0, 2), read(MS, 1)],  # begins in the moment of the acknowledgement
        [write(0, None, outcome="unknown", content="x"), read(LATE, 1)],
        [write(0, None, outcome="unknown", content="x"), read(LATE, 2, content="x")],
        [write(0, None, outcome="failed", content="x"), read(LATE, 1)],
        [delete(0, None, outcome="unknown"), read(LATE, 0), read(2 * LATE, 1)],
        [delete(0, 2), read(LATE, 0, owner=True), write(2 * LATE, 3), read(3 * LATE, 3)],
        [delete(0, 2), write(5 * MS, 3), read(5 * MS, 0)],
        [write(0, 2), read(LATE, None)],  # an answer that tells no version says nothing
        [write(0, 2), read(LATE, 1, outcome="failed")],
        [read(0, 1, worker="w"), write(0, 2), read(5 * MS, 2, worker="v"), read(LATE, 2)],
    ],
)
def test_what_may_happen_is_not_reported(history: list[Operation]) -> None:
    assert promises(history) == []


@pytest.mark.parametrize(
    ("final", "lost"),
    [
        (Kept(2, "c2"), False),
        (Kept(3, "other"), False),
        (Kept(1, "c1"), True),
        (Kept(2, "other"), True),
        (None, True),
    ],
)
def test_an_acknowledged_write_is_there_or_replaced(final: Kept | None, lost: bool) -> None:
    around = EXACT.ending({"k": final} if final else {})
    assert promises([write(0, 2)], around) == ["lost"] * lost
    assert promises([write(0, None, outcome="unknown")], around) == []


def test_a_near_cache_may_be_a_little_behind_for_others() -> None:
    near = Surroundings(ITEM)
    assert promises([write(0, 2), read(90 * MS, 1)], near) == []
    assert promises([write(0, 2), read(102 * MS, 1)], near) == ["P1"]
    assert promises([write(0, 2), read(90 * MS, 1, owner=True)], near) == ["P3"]


def test_without_redis_others_may_be_behind_and_the_owner_not() -> None:
    outage = Surroundings(ITEM, redis_down=(Span(0, 60 * S),), near_ns=0)
    assert promises([write(0, 2), read(14 * S, 1)], outage) == []
    assert promises([write(0, 2), read(16 * S, 1)], outage) == ["stale"]
    assert promises([write(0, 2), read(14 * S, 1, owner=True)], outage) == ["P3"]
    # The write of the outage is due to others within the same bound when Redis is back.
    assert promises([write(59 * S, 2), read(61 * S, 1)], outage) == []
    assert promises([write(59 * S, 2), read(75 * S, 1)], outage) == ["P1"]
    seen = write(S, 2, outcome="unknown"), read(2 * S, 2, worker="w"), read(3 * S, 1, worker="w")
    assert promises([*seen], outage) == []


def test_without_the_primary_reads_go_on_and_promises_rest() -> None:
    outage = Surroundings(ITEM, primary_down=(Span(5 * MS, 20 * MS),), near_ns=0)
    assert promises([write(0, 2), read(LATE, 1, owner=True)], outage) == []
    assert promises([write(0, 2), read(21 * MS, 1, owner=True)], outage) == ["P3"]


def test_spans_may_overlap_and_come_in_any_order() -> None:
    spans = (Span(6 * MS, 7 * MS), Span(0, 40 * MS))
    outage = Surroundings(ITEM, primary_down=spans, near_ns=0)
    assert promises([write(0, 2), read(LATE, 1)], outage) == []


def test_a_violation_can_be_read() -> None:
    [violation] = check([write(0, 2), read(LATE, 1)], EXACT)
    assert str(violation).startswith("P1: 1 given, 2 was there")
    assert "because of Operation(key='k', kind='write'" in str(violation)


def a_client(recorder: Recorder) -> None:
    for _ in range(100):
        begun = recorder.begin("k", "write", client="c", owner=True)
        begun.sent("x")
        begun.end("ok", 2, worker="w")


def test_recorders_of_many_threads_merge(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        with Recorder(path) as recorder:
            threads = [threading.Thread(target=a_client, args=(recorder,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(recorder.operations()) == 400
    merged = load(paths)
    assert len(merged) == 800
    assert {(o.content, o.worker, o.outcome, o.version) for o in merged} == {("x", "w", "ok", 2)}
    assert all(o.invoked_at <= o.completed_at for o in merged)


def test_what_never_ended_is_unknown() -> None:
    recorder = Recorder()
    begun = recorder.begin("k", "write")
    begun.sent("x")
    [operation] = recorder.operations()
    assert (operation.outcome, operation.content) == ("unknown", "x")
    begun.end("failed")
    assert [o.outcome for o in recorder.operations()] == ["failed"]
    with pytest.raises(AssertionError, match="one end"):
        begun.end("ok")
