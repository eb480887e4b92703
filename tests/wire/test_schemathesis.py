"""The running service against its own OpenAPI document, by schemathesis; bounded and repeatable.

tests/fixtures/schemathesis.toml has the exclusions with their reasons.
"""

import subprocess
import sys
from pathlib import Path

from tests.fixtures.running import RunningService

CONFIG = Path(__file__).parents[1] / "fixtures" / "schemathesis.toml"


def test_the_service_conforms_to_its_document(service: RunningService, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    token = service.token("schemathesis", "items:read items:write")
    ended = subprocess.run(
        [*command, f"{service.url}/openapi.json", "--header", f"Authorization: Bearer {token}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2000:]
