"""An export that was interrupted anywhere resumes without a gap or a repetition."""

import gzip
import json
from pathlib import Path

import pytest

from service import native
from service.bulk import export_file
from service.bulk.export_file import ExportFile, ExportFileInvalid

IDS = [n.to_bytes(16, "big") for n in range(1, 41)]
LINES = [
    json.dumps({"id": native.format_id(i), "data": {"n": "é" * (n % 7)}}).encode() + b"\n"
    for n, i in enumerate(IDS)
]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_file, "_MEMBER_BYTES", 300)
    monkeypatch.setattr(export_file, "_STEP_BYTES", 50)


def _export(path: Path, resume: bool) -> None:
    file = ExportFile(path, resume)
    for item_id, line in zip(IDS, LINES, strict=True):
        if file.last_id is None or item_id > file.last_id:
            file.write(line)
    file.close()


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.mark.parametrize("name", ["all.ndjson", "all.ndjson.gz"])
def test_it_resumes_wherever_it_was_cut(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _export(path, resume=False)
    whole = path.read_bytes()
    assert _read(path) == b"".join(LINES)
    first = len(LINES[0]) if name == "all.ndjson" else len(gzip.compress(b"", mtime=0)) + 300
    gone_on = 0
    for cut in range(first, len(whole) + 1):
        path.write_bytes(whole[:cut])
        try:
            _export(path, resume=True)
        except ExportFileInvalid:
            assert gone_on == 0
            continue
        gone_on += 1
        assert _read(path) == b"".join(LINES), cut
    assert gone_on > len(whole) // 2


def test_a_damaged_end_counts_as_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "all.gz"
    _export(path, resume=False)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    _export(path, resume=True)
    assert _read(path) == b"".join(LINES)


@pytest.mark.parametrize("content", [b"no line end", b"some text\n", b'{"id":1}\n', b"[]\n"])
def test_foreign_files_are_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ExportFileInvalid):
        ExportFile(path, resume=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [None, b""])
def test_nothing_there_means_from_the_beginning(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "new.ndjson"
    if content is not None:
        path.write_bytes(content)
    _export(path, resume=True)
    assert _read(path) == b"".join(LINES)
