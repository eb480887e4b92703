"""The real catalog goes in by `hotshelf import` and comes back, item by item, over HTTP."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from http.client import HTTPConnection
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.fixtures.running import RunningService

# Beside the checkout where there is one; else the sample that every checkout has.
CATALOG = Path(__file__).parents[3] / "shared" / "catalog" / "debian-packages.ndjson.gz"
SAMPLE = Path(str(files("service.sample") / "catalog.ndjson"))


def _exact(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _input() -> Iterator[Any]:
    if CATALOG.exists():
        with gzip.open(CATALOG, "rt") as lines:
            yield from map(_exact, lines)
    else:
        for line in SAMPLE.read_text().splitlines():
            document = _exact(line)
            yield document.get("data", document)


def _hotshelf(service: RunningService, *arguments: str) -> str:
    command = [sys.executable, "-m", "service.cli", *arguments]
    done = subprocess.run(
        command, env=service.env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _read(service: RunningService, ids: list[str]) -> dict[str, Any]:
    """Every item's data as HTTP gives it, over one connection; httpx would take minutes."""
    connection = HTTPConnection(urlsplit(service.url).netloc, timeout=60)
    headers = {"authorization": f"Bearer {service.token('reader', 'items:read')}"}
    found: dict[str, Any] = {}
    for item_id in ids:
        connection.request("GET", f"/v1/items/{item_id}", headers=headers)
        answer = connection.getresponse()
        item = _exact(answer.read())
        assert (answer.status, item.get("id"), item.get("owner_id")) == (200, item_id, "importer")
        found[item_id] = item["data"]
    connection.close()
    return found


def test_every_imported_item_is_read_back_as_it_was(
    service: RunningService, tmp_path: Path
) -> None:
    source = CATALOG if CATALOG.exists() else SAMPLE
    rejects = tmp_path / "rejects.ndjson"
    _hotshelf(service, "import", str(source), "--owner", "importer", "--rejects", str(rejects))
    # By line feeds alone: other tests' items hold what else Python takes for the end of a line.
    lines = _hotshelf(service, "export").removesuffix("\n").split("\n")
    exported = [_exact(line) for line in lines]
    mine = {row["id"]: row["data"] for row in exported if row["owner_id"] == "importer"}

    expected = sorted(map(_canonical, _input()))
    assert len(expected) == (21_222 if CATALOG.exists() else 40)
    assert sorted(map(_canonical, mine.values())) == expected
    assert _read(service, list(mine)) == mine


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
