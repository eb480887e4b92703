"""The worker board: snapshots are whole or absent, and a successor finds them."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.observe.instruments import Registry
from service.process import worker_board
from service.process.host_numbers import HostNumbers
from service.process.worker_board import ENV_NAME, WorkerBoard

# Takes a slot, writes argv[1] or what its predecessor wrote, and waits.
WORKER = """
import os, sys
from service.process.worker_board import WorkerBoard
board = WorkerBoard.inherited(os.environ)
found = board.take_slot()
board.write(sys.argv[1].encode() + (found or b""))
print(board.number, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def board() -> Iterator[WorkerBoard]:
    board = WorkerBoard.create()
    yield board
    board.close()


def started(board: WorkerBoard, text: str) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen(
        [sys.executable, "-c", WORKER, text],
        env=os.environ | {ENV_NAME: board.path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def killed(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def test_a_worker_takes_the_lowest_free_slot_with_its_last_content(board: WorkerBoard) -> None:
    first, first_number = started(board, "a")
    second, second_number = started(board, "b")
    assert (first_number, second_number) == (0, 1)
    assert board.take_slot() is None
    assert board.number == 2
    killed(first)
    third, third_number = started(board, "c")
    assert third_number == 0
    assert {n: snapshot.text for n, snapshot in board.snapshots().items()} == {0: b"ca", 1: b"b"}
    killed(second)
    killed(third)


def test_a_snapshot_is_read_whole_or_not_at_all(board: WorkerBoard) -> None:
    board.take_slot()
    assert board.snapshots() == {}
    board.write(b"a long snapshot")
    board.write(b"a short one")
    assert board.snapshots()[0].text == b"a short one"
    os.pwrite(board._descriptor, b"torn", worker_board._SLOT_BYTES + 20)
    assert board.snapshots() == {}


def test_a_silent_worker_is_not_alive(board: WorkerBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    board.take_slot()
    board.write(b"x")
    assert board.snapshots()[0].alive
    monkeypatch.setattr(worker_board, "_SILENT_NS", 0)
    assert not board.snapshots()[0].alive


def test_bytes_that_do_not_fit_are_refused(board: WorkerBoard) -> None:
    board.take_slot()
    with pytest.raises(ValueError, match="larger"):
        board.write(bytes(worker_board._SLOT_BYTES))


def test_the_salt_is_the_same_for_all_and_new_with_each_board(board: WorkerBoard) -> None:
    again = WorkerBoard(os.open(board.path, os.O_RDWR))
    other = WorkerBoard.create()
    assert board.salt == again.salt != other.salt
    assert len(board.salt) == 32
    other.close()


def test_numbers_of_a_worker_that_ended_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process keeps its slot until it ends, so the second worker here has a second board."""
    board = WorkerBoard.create()
    before = Registry()
    before.counter("asked_total", "x").add(5)
    HostNumbers(board, board.take_slot(), before, list).read()
    after = Registry()
    after.counter("asked_total", "x").add(2)
    again = HostNumbers(board, board.take_slot(), after, list)
    assert board.number == 0
    assert again.read().counters["asked_total", ()] == 7
    assert again.read().counters["asked_total", ()] == 7, "not counted twice"
    board.close()


def test_a_slot_is_kept_when_a_duplicate_of_the_descriptor_is_closed() -> None:
    board = WorkerBoard.create()
    other = WorkerBoard(os.open(board.path, os.O_RDWR))
    try:
        board.take_slot()
        os.close(os.dup(int(board.path.rpartition("/")[2])))
        other.take_slot()
        assert (board.number, other.number) == (0, 1)
    finally:
        other.close()
        board.close()
