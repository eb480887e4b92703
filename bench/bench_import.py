r"""`hotshelf import` against psql's \\copy of the same rows: ``python -m bench.bench_import``.

Both fill the same two empty shards of a durable development stack, in turn, pair by pair; psql
gets the rows prepared in COPY's text form and runs once a shard, at the same time. Prints the
ratio of the median rates, the process start of `hotshelf import` included and not, and leaves
the figures in bench/results/import.json.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from psycopg import sql

from service.embedded import EmbeddedStack
from service.embedded.binaries import postgres_bin
from service.embedded.processes import Account
from service.settings import Database
from service.store.migrate import migrate
from tests.fixtures.catalog import CATALOG
from tests.fixtures.stack import execute, short_directory

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "import.json"
_COLUMNS = "id, owner_id, version, created_at, updated_at, data"
_RATE = re.compile(r"imported ([\d,]+) items in [\d.]+ s \(([\d,]+)/s\)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--copies", type=int, default=6, help="the catalog this many times over")
    args = parser.parse_args()
    folder = short_directory()
    try:
        with EmbeddedStack(folder / "stack", replicas=0) as stack:
            urls = [shard[0] for shard in stack.shards]
            migrate(Database(shards=tuple((url,) for url in urls)))
            lines = _input(folder / "input.ndjson", args.copies)
            figures = _measure(urls, folder, lines, args.pairs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _report({"lines": lines, "pairs": args.pairs} | figures)


def _input(path: Path, copies: int) -> int:
    text = gzip.decompress(CATALOG.read_bytes())
    path.write_bytes(text * copies)
    return text.count(b"\n") * copies


def _measure(urls: list[str], folder: Path, lines: int, pairs: int) -> dict[str, list[float]]:
    _import(urls, folder, lines)
    prepared = [_prepare(url, folder / f"rows-{n}") for n, url in enumerate(urls)]
    figures: dict[str, list[float]] = {"import": [], "import_with_start": [], "psql": []}
    for pair in range(pairs):
        # The one that goes first changes from pair to pair.
        for ours in (True, False) if pair % 2 else (False, True):
            _empty(urls)
            if ours:
                rate, with_start = _import(urls, folder, lines)
                figures["import"].append(rate)
                figures["import_with_start"].append(with_start)
            else:
                figures["psql"].append(_psql(urls, prepared, lines))
    return figures


def _empty(urls: list[str]) -> None:
    for url in urls:
        execute(url, "TRUNCATE items")
        execute(url, "CHECKPOINT")


def _import(urls: list[str], folder: Path, lines: int) -> tuple[float, float]:
    """Rows per second by the command's own clock, and by ours around the whole process."""
    env = os.environ | {"HOTSHELF_DATABASE_SHARDS": ";".join(urls), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "service.cli", "import", "input.ndjson", "--owner", "bench"]
    began = time.perf_counter()
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=True)
    took_s = time.perf_counter() - began
    match = _RATE.search(done.stdout)
    assert match is not None
    assert int(match[1].replace(",", "")) == lines
    return float(match[2].replace(",", "")), lines / took_s


def _prepare(url: str, path: Path) -> Path:
    with psycopg.connect(url) as connection, path.open("wb") as file:
        query = sql.SQL("COPY (SELECT {} FROM items ORDER BY id) TO STDOUT")
        with connection.cursor() as cursor, cursor.copy(query.format(sql.SQL(_COLUMNS))) as copy:
            for block in copy:
                file.write(block)
    return path


def _psql(urls: list[str], prepared: list[Path], lines: int) -> float:
    psql = postgres_bin(Account(os.geteuid(), os.getegid())) / "psql"
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [psql, url, "-qXc", f"\\copy items ({_COLUMNS}) FROM '{path}'"],
            stdin=subprocess.DEVNULL,
        )
        for url, path in zip(urls, prepared, strict=True)
    ]
    assert [process.wait(timeout=600) for process in running] == [0] * len(urls)
    return lines / (time.perf_counter() - began)


def _report(figures: dict[str, object]) -> None:
    medians = {
        name: round(statistics.median(rates))
        for name, rates in figures.items()
        if isinstance(rates, list)
    }
    ratio = medians["import"] / medians["psql"]
    whole = medians["import_with_start"] / medians["psql"]
    RESULTS.parent.mkdir(exist_ok=True)
    summary = {"medians_rows_per_s": medians, "ratio": ratio, "ratio_with_start": whole}
    RESULTS.write_text(json.dumps(figures | summary, indent=2) + "\n")
    sys.stdout.write(
        f"rows per second, medians: {medians}\n"
        f"import / psql: {ratio:.2f} (target 0.5); with process start: {whole:.2f}\n"
    )


if __name__ == "__main__":
    main()
