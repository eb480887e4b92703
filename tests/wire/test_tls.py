"""TLS to Redis and PostgreSQL with several workers; Debian's servers, PyPI's have none."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
import uvloop

from service.embedded import Stack
from tests.fixtures.certificates import self_signed
from tests.fixtures.pipelines import connected
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer
from tests.fixtures.running import RunningService, start_service

WORKERS, ITEMS, READS = 3, 60, 600


def _postgres_bin() -> Path:
    """Debian's newest PostgreSQL, or HOTSHELF_PG_BIN if that one has TLS."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    for folder in (Path(os.environ.get("HOTSHELF_PG_BIN", "/nowhere")), *reversed(folders)):
        if (folder / "pg_ctl").exists() and _says(folder / "postgres", "libssl"):
            return folder
    pytest.skip("no PostgreSQL with TLS here (Debian: apt-get install postgresql)")


def _redis_program() -> str:
    found = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
    if found is None or not _says(Path(found), "libssl"):
        pytest.skip("no redis-server with TLS here (Debian: apt-get install redis-server)")
    return found


def _says(program: Path, library: str) -> bool:
    linked = subprocess.run(
        ["/usr/bin/ldd", str(program)], capture_output=True, text=True, check=False
    )
    return library in linked.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: a Unix socket path has 107 bytes at most, and another user has to enter.
    with tempfile.TemporaryDirectory(prefix="hs-tls-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def pem(folder: Path) -> tuple[Path, Path]:
    """One certificate and key for both servers."""
    return self_signed(folder)


@pytest.fixture
def tls_redis(
    folder: Path, pem: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[RedisServer, str]]:
    """A Redis that listens for TLS alone, and its URL, checked against the certificate."""
    monkeypatch.setenv("HOTSHELF_REDIS_BIN", _redis_program())
    certificate, key = pem
    port = free_port()
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file")
    options = (*map(str, files), str(certificate), "--tls-auth-clients", "no")
    server = RedisServer(folder, "--tls-port", str(port), *options)
    try:
        yield server, f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    finally:
        server.kill()


@pytest.fixture
def tls_postgres(folder: Path, pem: tuple[Path, Path]) -> Iterator[str]:
    """A PostgreSQL that takes nothing but TLS; its URL names the certificate to verify."""
    programs = _postgres_bin()
    certificate, key = pem
    data, port = folder / "pg", free_port()
    data.mkdir()
    account = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    for file in (data, key, certificate):
        if account:
            shutil.chown(file, "nobody")

    def run(program: str, *options: str) -> None:
        command = [*account, str(programs / program), "-D", str(data), *options]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    run("initdb", "-U", "hotshelf", "--locale", "C", "--encoding", "UTF8", "--no-sync")
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(
            f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
            f"ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n"
        )
    run("pg_ctl", "-w", "-l", str(data / "log"), "start")
    try:
        options = f"sslmode=verify-full&sslrootcert={certificate}"
        yield f"postgresql://hotshelf@127.0.0.1:{port}/postgres?{options}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


def test_workers_share_no_tls_connection(
    tls_postgres: str, tls_redis: tuple[RedisServer, str], tmp_path: Path
) -> None:
    server, url = tls_redis
    stack = Stack([[tls_postgres]], url)
    running = start_service(stack, tmp_path, HOTSHELF_HTTP_WORKERS=str(WORKERS))
    try:
        assert httpx.get(f"{running.url}/readyz").json()["status"] == "ready"
        _read_and_write(running)
        with psycopg.connect(tls_postgres) as connection:
            sessions = connection.execute(
                "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl"
                " JOIN pg_stat_activity USING (pid) WHERE backend_type = 'client backend'"
            ).fetchone()
        assert sessions is not None
        assert sessions[0] == sessions[1] > WORKERS
        with server.client() as client:
            # What is not this client's own unix socket came by TLS: there is no other port.
            assert len([c for c in client.client_list() if ":0" not in c["addr"]]) >= WORKERS
        log = running.log.read_text()
        assert "bad record mac" not in log.lower()
        assert "SSL" not in log
    finally:
        assert running.stop() == 0


def _read_and_write(running: RunningService) -> None:
    """All callers get the requested item from either worker."""

    def create(n: int) -> tuple[str, int]:
        with running.client() as client:
            sent = {"idempotency-key": f"tls-{n}"}
            made = client.post("/v1/items", json={"data": {"n": n}}, headers=sent)
        assert made.status_code == 201
        return made.headers["location"], n

    def read(item: tuple[str, int]) -> None:
        with running.client() as client:
            for _ in range(READS // ITEMS):
                assert client.get(item[0]).json()["data"] == {"n": item[1]}

    with ThreadPoolExecutor(8) as threads:
        items = list(threads.map(create, range(ITEMS)))
        assert len({path for path, _ in items}) == ITEMS
        list(threads.map(read, items))


def test_a_redis_that_cannot_be_verified_is_not_used(tls_redis: tuple[RedisServer, str]) -> None:
    _, url = tls_redis

    async def body() -> None:
        async with connected(url) as pipeline:
            large = b"x" * 1_000_000
            assert await pipeline.send((b"ECHO", large)) == large
        for bad in (url.partition("?")[0], url.replace("rediss://", "redis://")):
            async with connected(bad) as pipeline:
                assert not pipeline.available

    uvloop.run(body())
