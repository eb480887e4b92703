"""`make load` against a server that lies: what it must notice, and what is no trouble."""

import csv
import http.server
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.rows import LIMITED

_numbers = itertools.count(1)


class Liar(http.server.BaseHTTPRequestHandler):
    """Makes a new item for each repetition of a key, forgets changes, and limits lists."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert self.headers["X-API-Key"] == "hsk_secret"
        if self.path.startswith("/v1/items?") or self.path.startswith("/v2/items?"):
            self._answer(429, {"Retry-After": "1"})
        else:
            self._answer(200, {"ETag": '"0-0"'})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        location = f"/v1/items/{next(_numbers)}"
        self._answer(201, {"ETag": '"1-0"', "Location": location, "Idempotency-Replayed": "true"})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {"ETag": '"2-0"'})

    do_PATCH = do_PUT  # noqa: N815

    def do_DELETE(self) -> None:
        self._answer(204, {})

    def _answer(self, status: int, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", "2")
        self.end_headers()
        if status != 204:
            self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def liar() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_lies_are_noticed_and_limits_are_no_trouble(liar: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("hsk_secret\n")
    command = [sys.executable, "-m", "loadtest.load", "--shape", "soak", "--host", liar]
    command += ["--tokens", str(keys), "--users", "10", "--minutes", "0.06", "--rate", "60"]
    command += ["--output", str(tmp_path)]
    env = os.environ | {"HOTSHELF_LOAD_WRITES": "10"}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "of a core" in done.stderr
    folder = tmp_path / "soak"
    assert (folder / "load.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "report.html").stat().st_size > 1000
    failures = (folder / "load_failures.csv").read_text()
    assert "wrong replay: one key has two answers, by location" in failures
    assert "stale read" in failures
    rows = {row["Name"]: row for row in _rows(folder / "load_stats.csv")}
    assert int(rows[LIMITED]["Request Count"]) > 0
    assert rows[LIMITED]["Failure Count"] == "0"
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["limited"] == int(rows[LIMITED]["Request Count"])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
