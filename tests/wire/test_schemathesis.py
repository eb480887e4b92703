"""The running service against its own OpenAPI document, by schemathesis; bounded and repeatable.

tests/fixtures/schemathesis.toml has the exclusions with their reasons.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.databases import empty_databases
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.second_collection import wait_until_known

CONFIG = Path(__file__).parents[1] / "fixtures" / "schemathesis.toml"
SHOP = {
    "read": "public",
    "attributes": ["price"],
    "schema": {"type": "object", "properties": {"price": {"type": "number"}}},
}
# The other paths of the shop differ from those of items only as these do.
LEFT_OUT = "^(/v2)?/shop"


@pytest.fixture
def alone(stack: EmbeddedStack, tmp_path: Path) -> Iterator[RunningService]:
    """With one public collection, and none that other tests have made."""
    with empty_databases(stack) as [[primary, *_]]:
        running = start_service(Stack([[primary]], stack.redis_url), tmp_path)
        with running.client("olga", "items:admin") as operator:
            new = {"if-none-match": "*"}
            made = operator.put("/v1/collections/shop", json=SHOP, headers=new)
            assert made.status_code == 201, made.text
        wait_until_known(running, "shop")
        yield running
        assert running.stop() == 0


def test_the_service_conforms_to_its_document(alone: RunningService, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    token = alone.token("schemathesis", "*:read *:write")
    ended = subprocess.run(
        [
            *command,
            f"{alone.url}/openapi.json",
            *("--header", f"Authorization: Bearer {token}"),
            *("--exclude-path-regex", LEFT_OUT),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2000:]
