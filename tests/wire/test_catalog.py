"""The real catalog goes in by `hotshelf import` and comes back, item by item, over HTTP."""

import json
import subprocess
import sys
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.fixtures.catalog import CATALOG, CATALOG_ITEMS, catalog_lines
from tests.fixtures.running import RunningService


def _exact(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


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
    rejects = tmp_path / "rejects.ndjson"
    _hotshelf(service, "import", str(CATALOG), "--owner", "importer", "--rejects", str(rejects))
    # By line feeds alone: other tests' items hold what else Python takes for the end of a line.
    lines = _hotshelf(service, "export").removesuffix("\n").split("\n")
    exported = [_exact(line) for line in lines]
    mine = {row["id"]: row["data"] for row in exported if row["owner_id"] == "importer"}

    expected = sorted(_canonical(_exact(line)) for line in catalog_lines())
    assert len(expected) == CATALOG_ITEMS
    assert sorted(map(_canonical, mine.values())) == expected
    assert _read(service, list(mine)) == mine


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
