"""`hotshelf export`: in order, in constant memory, quiet when its reader leaves, resumable."""

import gzip
import json
import subprocess
from pathlib import Path

from tests.fixtures.bulk import Bulk

_PEAK_KIB = 120 << 10


def test_after_exports_the_following_items(bulk: Bulk) -> None:
    bulk.run("seed", "--items", "50", "--bytes", "300", "--force")
    lines = bulk.run("export").stdout.splitlines()
    last = json.loads(lines[29])["id"]
    assert bulk.run("export", "--after", last.lower()).stdout.splitlines() == lines[30:]
    assert bulk.run("export", "--after", "nonsense").returncode == 2


def test_resume_completes_files_that_were_cut(bulk: Bulk) -> None:
    bulk.run("seed", "--items", "20000", "--bytes", "600", "--force")
    whole = bulk.run("export").stdout
    for name in ("plain", "compressed.gz"):
        path = bulk.folder / name
        assert bulk.run("export", "--output", name).returncode == 0
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        done = bulk.run("export", "--output", name, "--resume")
        assert done.returncode == 0, done.stderr
        assert b"exported 20,000" not in done.stderr
        content = path.read_bytes()
        assert (gzip.decompress(content) if name.endswith("gz") else content) == whole


def test_a_reader_that_leaves_ends_it_quietly_in_flat_memory(bulk: Bulk) -> None:
    bulk.run("seed", "--items", "15000", "--bytes", "4000", "--force")
    process = bulk.start("export", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(14_000):
        assert process.stdout.readline()
    status = Path(f"/proc/{process.pid}/status").read_text()
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=60)
    assert stderr == b""
    assert process.returncode == 141
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) < _PEAK_KIB
