"""`hotshelf run` and the command line as a newcomer meets them."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.ports import free_port
from tests.fixtures.printed import PRINTED

README = Path(__file__).parents[2] / "README.md"
HOTSHELF = [sys.executable, "-m", "service.cli"]
ENV = {k: v for k, v in os.environ.items() if not k.startswith("HOTSHELF_")}
_WAITS = 600


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # Not tmp_path: a Unix socket path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="hs-", ignore_cleanup_errors=True) as name:
        yield Path(name) / "state"


class _Run:
    """One `hotshelf run`, its output in a file."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir.parent / f"run-{time.monotonic_ns()}.log"
        command = [*HOTSHELF, "run", "--data-dir", str(data_dir)]
        if "--config" not in arguments:
            command += ["--port", str(free_port())]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--shards", "1", "--replicas", "0", *arguments],
                env=ENV,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def curl_lines(self) -> list[str]:
        """Waits until the welcome is printed."""
        for _ in range(_WAITS):
            lines = [line for line in self.log.read_text().splitlines() if line.startswith("curl")]
            if len(lines) == 3:
                return lines
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        # It shows its development token on purpose, and nothing else that is secret.
        PRINTED.keep(self.log)
        written = (self.data_dir / "hotshelf.toml").read_text()
        for url in re.findall(r'"([a-z]+://[^"]+)"', written):
            PRINTED.note_url(url)
        return status


def _processes_of(data_dir: Path) -> list[str]:
    """Whatever still runs with this data directory in its command line, environment or cwd."""
    found = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        try:
            command = (proc / "cmdline").read_bytes()
            places = [
                command,
                (proc / "environ").read_bytes(),
                os.fsencode((proc / "cwd").readlink()),
            ]
        except OSError:
            continue
        if command and any(os.fsencode(data_dir) in place for place in places):
            found.append(command.replace(b"\0", b" ").decode())
    return found


def _until_none_is_left(data_dir: Path) -> list[str]:
    for _ in range(_WAITS):
        left = _processes_of(data_dir)
        if not left:
            break
        time.sleep(0.1)
    return left


def test_the_printed_lines_work_and_ctrl_c_leaves_nothing(data_dir: Path) -> None:
    run = _Run(data_dir)
    try:
        answers = [
            subprocess.run(
                ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=True
            )
            for line in run.curl_lines()
        ]
        assert [a.stdout.split(" ", 2)[1] for a in answers] == ["201", "200", "200"]
        assert "Ember cast-iron casserole" in answers[1].stdout
        assert (data_dir / "dev-token").stat().st_mode & 0o777 == 0o600
        assert (data_dir / "hotshelf.toml").stat().st_mode & 0o777 == 0o600
        assert _processes_of(data_dir)
    finally:
        status = run.end(signal.SIGINT)
    assert status == 0, run.log.read_text()
    assert not _until_none_is_left(data_dir)


def test_a_killed_run_leaves_nothing_and_the_next_one_recovers(data_dir: Path) -> None:
    first = _Run(data_dir)
    created = first.curl_lines()[0]
    answer = subprocess.run(
        ["/bin/sh", "-c", created], capture_output=True, text=True, timeout=60, check=True
    )
    location = answer.stdout.split("location: ")[1].split()[0]
    first.end(signal.SIGKILL)
    assert not _until_none_is_left(data_dir)
    second = _Run(data_dir, "--no-sample")
    try:
        read = second.curl_lines()[1].replace("/v1/items/01JHXSAMP1EKETT1E000000001", location)
        again = subprocess.run(
            ["/bin/sh", "-c", read], capture_output=True, text=True, timeout=60, check=True
        )
        assert again.stdout.startswith("HTTP/1.1 200")
        assert "kettle" in again.stdout
    finally:
        assert second.end(signal.SIGTERM) == 0


def test_the_issuer_is_named_by_the_port_of_the_settings(data_dir: Path) -> None:
    config = data_dir.parent / "mine.toml"
    for port in (free_port(), free_port()):  # what an earlier run left does not count
        config.write_text(f"[http]\nport = {port}\n")
        run = _Run(data_dir, "--config", str(config), "--no-sample")
        try:
            run.curl_lines()
            server = f"http://127.0.0.1:{port}"
            named = httpx.get(f"{server}/.well-known/oauth-authorization-server").json()
            assert named["issuer"] == server
            assert named["token_endpoint"] == f"{server}/oauth2/token"
        finally:
            assert run.end(signal.SIGTERM) == 0


def test_the_tour_of_the_readme_works_as_printed(data_dir: Path) -> None:
    tour = re.search(r"## Five minutes.*?```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert tour is not None
    folder = data_dir.parent
    (folder / "products.ndjson").write_text('{"name":"pot","price":12.50}\n')
    run = _Run(folder / ".hotshelf")
    try:
        url = re.search(r"http://[0-9.:]+", run.curl_lines()[0])
        assert url is not None
        script = tour[1].replace("http://127.0.0.1:8080", url[0])
        script = script.replace(".venv/bin/hotshelf", " ".join(HOTSHELF))
        ended = subprocess.run(
            ["/bin/sh", "-euc", script],
            cwd=folder,
            env=ENV,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        statuses = re.findall(r"HTTP/1\.1 (\d{3}) ", ended.stdout)
        assert statuses == ["201", "200", "200", "412", "201", "200"]
        assert (folder / "backup.ndjson.gz").stat().st_size > 1000
    finally:
        assert run.end(signal.SIGINT) == 0


def _hotshelf(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HOTSHELF, *arguments],
        env=ENV | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["import", "--help"]])
def test_help_is_ours(arguments: list[str]) -> None:
    answer = _hotshelf(*arguments)
    assert answer.returncode == 0
    assert answer.stdout.startswith("usage: hotshelf")


@pytest.mark.parametrize(
    ("arguments", "env", "told"),
    [
        (["serve"], {}, "database.shards"),
        (["migrate"], {}, "database.shards"),
        (["settings"], {"HOTSHELF_HTTP_PROT": "1"}, "HOTSHELF_HTTP_PORT"),
        (["settings", "--config", "/nowhere.toml"], {}, "/nowhere.toml"),
        (
            ["migrate"],
            {"HOTSHELF_DATABASE_SHARDS": "postgresql://x:s3cret@127.0.0.1:1/x"},
            "no primary",
        ),
        (["frobnicate"], {}, "invalid choice"),
    ],
)
def test_a_mistake_gets_one_clear_line(
    tmp_path: Path, arguments: list[str], env: dict[str, str], told: str
) -> None:
    answer = _hotshelf(*arguments, **env, HOTSHELF_DATA_DIR=str(tmp_path / "none"))
    assert answer.returncode == 2
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "s3cret" not in answer.stderr + answer.stdout


def test_settings_show_their_source_and_no_password(tmp_path: Path) -> None:
    answer = _hotshelf(
        "settings",
        HOTSHELF_REDIS_URL="redis://:s3cret@127.0.0.1:1/0",
        HOTSHELF_DATA_DIR=str(tmp_path),
    )
    assert "redis.url = redis://:***@127.0.0.1:1/0" in answer.stdout
    assert "[environment]" in answer.stdout
    assert "s3cret" not in answer.stdout
