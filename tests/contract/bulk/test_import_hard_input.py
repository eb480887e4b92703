"""Input that is broken, foreign, huge or contradictory has a clear end, and what is good stays."""

import gzip
import json
import os
import signal
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.bulk import Bulk, default_interrupt
from tests.fixtures.stack import execute

_MIB = 1 << 20
_PEAK_KIB = 160 << 10
ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
OTHER = "01ARZ3NDEKTSV4RRFFQ69G5FAW"

REJECTED = [
    (b"{", "syntax", ""),
    (b"{} {}", "syntax", ""),
    (b'{"a":NaN}', "syntax", ""),
    (b"\xff\xfe", "syntax", ""),
    (b"[]", "not-an-object", ""),
    (b"null", "not-an-object", ""),
    (b'{"a":"\\u0000"}', "nul", "/a"),
    (b'{"a":["\\ud800"]}', "lone-surrogate", "/a/0"),
    (b'{"a":1e131071}', "number-too-long", "/a"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "too-deep", "/a" * 64),
    (b'{"%b":1}' % (b"n" * 257), "name-too-long", "/" + "n" * 256 + "…"),
    (b'{"data":1}', "not-an-object", "/data"),
    (b'{"data":{},"data":{}}', "duplicate-member", "/data"),
    (b'{"data":{"a":"\\u0000"},"id":"x"}', "nul", "/data/a"),
    (b'{"id":"8ZZZZZZZZZZZZZZZZZZZZZZZZZ","data":{}}', "invalid-id", "/id"),
    (b'{"id":1,"data":{}}', "invalid-id", "/id"),
    (b'{"owner_id":"","data":{}}', "invalid-member", "/owner_id"),
    (b'{"version":0,"data":{}}', "invalid-member", "/version"),
    (b'{"version":9223372036854775808,"data":{}}', "invalid-member", "/version"),
    (b'{"created_at":"yesterday","data":{}}', "invalid-member", "/created_at"),
    (b'{"created_at":"2026-01-01T00:00:00","data":{}}', "invalid-member", "/created_at"),
    (b'{"a":"%b"}' % (b"x" * _MIB), "line-too-long", ""),
]


def _import(bulk: Bulk, text: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
    return bulk.run("import", "-", "--owner", "o", "--rejects", "rejects", *more, stdin=text)


def test_bad_lines_are_rejected_and_good_ones_stored(bulk: Bulk) -> None:
    lines = [line for bad, _, _ in REJECTED for line in (b'{"good":1}', b"", bad)]
    done = _import(bulk, b"\n".join(lines))
    assert done.returncode == 1, done.stderr
    assert f"{len(REJECTED)} lines rejected: see rejects".encode() in done.stderr
    assert bulk.data() == [{"good": 1}] * len(REJECTED)
    found = [(r["line"], r["reason"], r["pointer"]) for r in bulk.rejects()]
    assert found == [(3 * n, reason, at) for n, (_, reason, at) in enumerate(REJECTED, 1)]


def test_the_definition_of_an_exported_line(bulk: Bulk) -> None:
    lines = [
        ('{"data":{"n":1}}', {"n": 1}),
        ('{"d\\u0061ta":{"n":2}}', {"n": 2}),
        ('{"data":{"n":3},"other":1}', {"data": {"n": 3}, "other": 1}),
        ('{"id":"x","version":1}', {"id": "x", "version": 1}),
        ('{"metadata":{"n":5}}\r', {"metadata": {"n": 5}}),
    ]
    text = "\ufeff" + "\n".join(line for line, _ in lines)
    assert _import(bulk, text.encode()).returncode == 0
    assert bulk.data() == [data for _, data in lines]


def test_bare_lines_are_always_data(bulk: Bulk) -> None:
    line = {"id": ID, "data": {"n": 1}}
    assert _import(bulk, json.dumps(line).encode(), "--bare").returncode == 0
    assert bulk.data() == [line]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(range(256)), "not UTF-8 text"),
        ('{"a":1}\n'.encode("utf-16"), "not UTF-8 text"),
        (b"\x28\xb5\x2f\xfd....", "zstd -dc"),
        (b"PK\x03\x04....", "unzip -p"),
        (b'[{"a":1},{"a":2}]', "jq -c '.[]'"),
        (b'\xef\xbb\xbf\n [\n  {"a":1}\n]\n', "jq -c '.[]'"),
        (gzip.compress(b'{"a":1}\n', mtime=0)[:-9], "truncated"),
        (gzip.compress(b'{"a":1}\n', mtime=0)[:-8] + b"12345678", "damaged"),
        (gzip.compress(b'{"a":1}\n', mtime=0) + b"trailing", "damaged"),
    ],
)
def test_foreign_input_is_refused(bulk: Bulk, content: bytes, message: str) -> None:
    done = _import(bulk, content)
    assert done.returncode == 2
    assert message.encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "owner", "message"),
    [
        ("nowhere.ndjson", "o", "No such file"),
        (".", "o", "Is a directory"),
        ("-", "", "is empty"),
        ("-", "\udcff", "is not UTF-8"),
    ],
)
def test_a_command_that_makes_no_sense_says_so(
    bulk: Bulk, name: str, owner: str, message: str
) -> None:
    done = bulk.run("import", name, "--owner", owner)
    assert done.returncode == 2
    assert message.encode() in done.stderr


def test_an_interrupt_ends_it_at_once(bulk: Bulk) -> None:
    with default_interrupt():
        process = bulk.start(
            "import", "-", "--owner", "o", stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"import ")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert stderr == b"hotshelf import: interrupted\n"
    assert process.returncode == 130


def test_a_cut_gzip_ends_the_import_and_the_whole_one_completes_it(bulk: Bulk) -> None:
    lines = [{"n": n, "noise": os.urandom(500).hex()} for n in range(2000)]
    compressed = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
    done = _import(bulk, compressed[: len(compressed) * 3 // 4], "--import-id", "cut")
    assert done.returncode == 2
    assert b"truncated" in done.stderr
    stored = bulk.data()
    assert 0 < len(stored) < 2000
    assert stored == lines[: len(stored)]
    done = _import(bulk, compressed, "--import-id", "cut")
    assert done.returncode == 0, done.stderr
    assert bulk.data() == lines
    done = _import(bulk, compressed, "--import-id", "cut")
    assert done.returncode == 0
    assert b"already complete" in done.stderr
    assert len(bulk.data()) == 2000


def test_an_import_id_belongs_to_one_input(bulk: Bulk) -> None:
    assert _import(bulk, b'{"a":1}\n', "--import-id", "mine").returncode == 0
    for text, flags in ((b'{"a":2}\n', ()), (b'{"a":1}\n', ("--bare",))):
        done = _import(bulk, text, "--import-id", "mine", *flags)
        assert done.returncode == 2
        assert b"other input or options" in done.stderr


def test_ids_that_are_taken_are_rejected(bulk: Bulk) -> None:
    first = [f'{{"id":"{ID}","data":{{"n":0}}}}', f'{{"id":"{OTHER}","data":{{"n":1}}}}']
    again = [f'{{"id":"{ID.lower()}","data":{{"n":2}}}}', '{"data":{"n":3}}']
    done = _import(bulk, "\n".join([*first, *again]).encode())
    assert done.returncode == 1
    assert [(r["line"], r["reason"]) for r in bulk.rejects()] == [(3, "duplicate-id")]
    done = _import(bulk, "\n".join([*again, *first]).encode())
    assert sorted(r["line"] for r in bulk.rejects()) == [1, 3, 4]
    assert [data["n"] for data in bulk.data()] == [0, 1, 3, 3]


def test_ids_that_are_taken_can_be_skipped(bulk: Bulk) -> None:
    lines = [f'{{"id":"{ID}","data":{{"n":{n}}}}}' for n in range(3)]
    done = _import(bulk, "\n".join(lines).encode(), "--on-conflict", "skip")
    assert done.returncode == 0
    assert b"2 lines skipped" in done.stderr
    assert bulk.data() == [{"n": 0}]
    assert bulk.rejects() == []


def test_a_deleted_item_comes_back_under_a_higher_version(bulk: Bulk) -> None:
    line = f'{{"id":"{ID}","version":3,"data":{{}}}}'.encode()
    assert _import(bulk, line).returncode == 0
    for url in bulk.urls:
        execute(url, "UPDATE items SET data = NULL, deleted_at = now(), version = 4")
    assert bulk.data() == []
    assert _import(bulk, line).returncode == 0
    assert [item["version"] for item in bulk.exported()] == [5]


def test_csv_reads_cells_as_json_would(bulk: Bulk) -> None:
    text = (
        '\ufeffname,price,sold,"the, note"\r\n'
        '"1.50",1.50,true,null\r\n'
        "\r\n"
        'é,-0.1e1,,"two\nlines ""quoted"""\n'
        '01,+1,True,""\n'
        "a,b,c\n"
        'a,b"c,d,e\n'
        "12345678901234567890.10,.5,1.,last"
    )
    done = _import(bulk, text.encode(), "--format", "csv")
    assert done.returncode == 1, done.stderr
    assert [(r["line"], r["reason"]) for r in bulk.rejects()] == [
        (7, "csv-cells"),
        (8, "csv-syntax"),
    ]
    assert bulk.data() == [
        {"name": "1.50", "price": Decimal("1.50"), "sold": True, "the, note": None},
        {"name": "é", "price": Decimal("-1.0"), "the, note": 'two\nlines "quoted"'},
        {"name": "01", "price": "+1", "sold": "True", "the, note": ""},
        {
            "name": Decimal("12345678901234567890.10"),
            "price": ".5",
            "sold": "1.",
            "the, note": "last",
        },
    ]


def test_a_csv_quote_that_is_never_closed_costs_one_record(bulk: Bulk) -> None:
    text = b'a\n"open\n' + b"".join(b"%060d\n" % n for n in range(20_000))
    done = _import(bulk, text, "--format", "csv")
    assert done.returncode == 1
    assert [(r["line"], r["reason"]) for r in bulk.rejects()] == [(2, "record-too-long")]
    assert 0 < len(bulk.data()) < 20_000


@pytest.mark.parametrize("header", [b"a,a\n1,2\n", b"a,\n1,2\n", b'a"\n', b"\xff\n"])
def test_a_csv_header_of_no_use_ends_the_import(bulk: Bulk, header: bytes) -> None:
    done = _import(bulk, header, "--format", "csv")
    assert done.returncode == 2
    assert b"header" in done.stderr


def test_a_line_of_two_gigabytes_is_rejected_in_flat_memory(bulk: Bulk) -> None:
    def feed(pipe: Any) -> None:
        pipe.write(b'{"n":1}\n{"n":"')
        for _ in range(2048):
            pipe.write(b"x" * _MIB)
        pipe.write(b'"}\n{"n":3}\n')

    status, peak_kib = _measured(bulk, feed)
    assert status == 1
    assert [(r["line"], r["reason"]) for r in bulk.rejects()] == [(2, "line-too-long")]
    assert bulk.data() == [{"n": 1}, {"n": 3}]
    assert peak_kib < _PEAK_KIB


def test_memory_is_flat_over_many_lines(bulk: Bulk) -> None:
    line = json.dumps({"text": "x" * 4000}).encode() + b"\n"
    # Short lines that are all rejected are the other way to fill memory.
    blocks = [line * 250, b"x\n" * 500] * 120

    def feed(pipe: Any) -> None:
        for block in blocks:
            pipe.write(block)

    status, peak_kib = _measured(bulk, feed)
    assert status == 1
    assert len(bulk.rejects()) == 60_000
    counts = [execute(url, "SELECT count(*) FROM items")[0][0] for url in bulk.urls]
    assert sum(map(int, map(str, counts))) == 30_000
    assert peak_kib < _PEAK_KIB


def _measured(bulk: Bulk, feed: Any) -> tuple[int, int]:
    """Exit status and peak resident memory (KiB) of an import that is fed by pipe."""
    process = bulk.start(
        "import", "-", "--owner", "o", "--rejects", "rejects", stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    with process.stdin as pipe:
        feed(pipe)
        status = Path(f"/proc/{process.pid}/status").read_text()
    peak_kib = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return process.wait(timeout=60), int(peak_kib.split()[1])
