"""An import that dies at any moment resumes where it stopped: every line exactly once."""

import random
import subprocess
import sys
import time

from service import native
from tests.fixtures.bulk import Bulk
from tests.fixtures.stack import execute

_LINES = 8_000
_KILLS = 15
# Small batches, and a pause between a batch's rows and its position: that is where to die.
_IMPORT = """
import sys, time
from service.bulk import import_items
from service.bulk import source
from service.store.copy import ShardWriter
from service.cli.main import main
import_items._BATCH_BYTES = source._BLOCK_BYTES = 2_000
advance = ShardWriter._advance
ShardWriter._advance = lambda self, line: (time.sleep(0.005), advance(self, line))
sys.exit(main())
"""
_END_BACKENDS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'hotshelf'"
)


def test_every_line_is_stored_exactly_once(bulk: Bulk) -> None:
    chance = random.Random(7)
    lines, stored, rejected = _input(chance)
    bulk.file("input.ndjson", "".join(line + "\n" for line in lines).encode())
    cut_short = 0
    for n in range(_KILLS):
        process = _start(bulk)
        _wait_for_line(bulk, process, _line(bulk) + chance.randrange(_LINES // _KILLS))
        if n % 3 == 2:
            # The other side dies: the import notices, and says so.
            for url in bulk.urls:
                execute(url, _END_BACKENDS)
        else:
            process.kill()
        cut_short += process.wait(timeout=60) not in (0, 1)
    assert cut_short > _KILLS // 2
    assert _start(bulk).wait(timeout=120) == 1
    assert sorted(item["data"]["n"] for item in bulk.exported()) == stored
    assert sorted(reject["line"] for reject in bulk.rejects()) == rejected


def _input(chance: random.Random) -> tuple[list[str], list[int], list[int]]:
    """Lines of every kind, the numbers of those to be stored, and of those to be rejected."""
    lines: list[str] = []
    stored: list[int] = []
    rejected: list[int] = []
    taken = [native.format_id(chance.randbytes(16))]
    lines.append(f'{{"id":"{taken[0]}","data":{{"n":1}}}}')
    stored.append(1)
    for n in range(2, _LINES + 1):
        kind = chance.choices(["bare", "with id", "duplicate", "broken"], [60, 20, 3, 3])[0]
        if kind == "bare":
            lines.append(f'{{"n":{n}}}')
        elif kind == "broken":
            lines.append(f'{{"n":{n}')
        else:
            if kind == "with id":
                taken.append(native.format_id(chance.randbytes(16)))
            item_id = taken[-1] if kind == "with id" else chance.choice(taken)
            lines.append(f'{{"id":"{item_id}","data":{{"n":{n}}}}}')
        (stored if kind in ("bare", "with id") else rejected).append(n)
    return lines, stored, rejected


def _start(bulk: Bulk) -> subprocess.Popen[bytes]:
    command = "import input.ndjson --owner o --rejects rejects --import-id killed"
    return subprocess.Popen(
        [sys.executable, "-c", _IMPORT, *command.split()],
        env=bulk.env,
        cwd=bulk.folder,
        stderr=subprocess.DEVNULL,
    )


def _wait_for_line(bulk: Bulk, process: subprocess.Popen[bytes], line: int) -> None:
    """Until some shard is past the line, or the import has ended."""
    for _ in range(6_000):
        if process.poll() is not None or _line(bulk) >= line:
            return
        time.sleep(0.005)
    raise AssertionError(f"the import hangs before line {line}")


def _line(bulk: Bulk) -> int:
    query = "SELECT coalesce(max(line), 0) FROM import_positions"
    return max(int(str(execute(url, query)[0][0])) for url in bulk.urls)
