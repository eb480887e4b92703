"""Every command that docs/access.md shows, in its order, in one shell."""

import re
import subprocess
import sys
from pathlib import Path

import httpx

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.printed import PRINTED
from tests.fixtures.running import start_service

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
SAMPLE = "01JHXSAMP1EKETT1E000000001"


def _script(url: str) -> str:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text = "\n".join(blocks)
    assert text.count("http://127.0.0.1:8080") == 1
    # Fail at a refusal, and name each answer.
    curl = 'curl() { command curl --fail-with-body -w "\\n%{http_code}\\n" "$@"; }\n'
    return "set -eu\n" + curl + text.replace("http://127.0.0.1:8080", url)


def test_every_command_of_the_page_works(stack: EmbeddedStack, tmp_path: Path) -> None:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path,
        HOTSHELF_AUTH_JWKS="",
        HOTSHELF_AUTH_REFRESH_S="1",
    )
    try:
        with httpx.Client(base_url=running.url) as client:
            token = running.command("token", "--sub", "developer")
            client.headers["authorization"] = f"Bearer {token}"
            made = client.put(
                f"/v1/items/{SAMPLE}",
                json={"data": {"name": "pot"}},
                headers={"if-none-match": "*"},
            )
            assert made.status_code in (201, 412)
        program = tmp_path / "hotshelf"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m service.cli "$@"\n')
        program.chmod(0o755)
        ended = subprocess.run(
            ["/bin/sh", "-c", _script(running.url)],
            env=running.env | {"PATH": f"{tmp_path}:{running.env['PATH']}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        for secret in re.findall(r'(?:_secret=|_token":")([^"\s]+)', ended.stdout):
            PRINTED.note(secret)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert re.findall(r"^\d{3}$", ended.stdout, re.MULTILINE) == ["200"] * 3
        assert '"name":"pot"' in ended.stdout.replace(": ", ":")
        assert re.search(r"shop\titems:read\t600/60\t\S+\t-$", ended.stdout, re.MULTILINE)
    finally:
        assert running.stop() == 0
