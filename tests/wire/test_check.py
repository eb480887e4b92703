"""``hotshelf check``, and what ``hotshelf serve`` refuses to start with."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from service.embedded import EmbeddedStack
from service.settings import Database
from service.store.migrate import migrate
from tests.fixtures.databases import empty_databases
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer, redis_server


def hotshelf(
    word: str,
    shards: list[list[str]],
    redis_url: str,
    program: Sequence[str] = ("-m", "service.cli"),
    **more: str,
) -> subprocess.CompletedProcess[str]:
    env = {
        "HOTSHELF_DATABASE_SHARDS": ";".join(" ".join(nodes) for nodes in shards),
        "HOTSHELF_REDIS_URL": redis_url,
        "HOTSHELF_HTTP_PORT": str(free_port()),
    } | more
    return subprocess.run(
        [sys.executable, *program, word],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def shards(stack: EmbeddedStack) -> Iterator[list[list[str]]]:
    with empty_databases(stack) as urls:
        migrate(Database(shards=tuple(map(tuple, urls))))
        yield urls


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server("--maxmemory-policy", "allkeys-lru") as running:
        yield running


def test_a_redis_that_others_use_is_refused_and_loses_nothing(
    shards: list[list[str]], server: RedisServer
) -> None:
    with server.client() as client:
        client.mset({f"item:{n}": "ours" for n in range(3_000)})
        client.set("session:42", "a")
        client.rpush("celery", "t1")
        ended = hotshelf("serve", shards, server.url)
        assert ended.returncode == 2
        [line] = [line for line in ended.stderr.splitlines() if ": error: " in line]
        assert line.startswith(f"hotshelf: redis.url ({server.socket}/0): error: ")
        assert '"session:42"' in line or '"celery"' in line
        assert (client.get("session:42"), client.llen("celery")) == (b"a", 1)


def test_a_database_that_was_not_migrated_is_refused(
    stack: EmbeddedStack, server: RedisServer
) -> None:
    with empty_databases(stack) as urls:
        ended = hotshelf("serve", urls, server.url)
    assert ended.returncode == 2
    assert "run `hotshelf migrate`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_check_reports_each_server(shards: list[list[str]], server: RedisServer) -> None:
    ended = hotshelf("check", shards, server.url)
    assert ended.returncode == 0
    lines = [line for line in ended.stdout.splitlines() if ": ok: " in line]
    assert [line.partition(" (")[0] for line in lines] == [
        "shard 0, node 0",
        "shard 0, node 1",
        "redis.url",
    ]
    assert lines[2].endswith("maxmemory-policy allkeys-lru")


@pytest.mark.parametrize("right", ["-evalsha", "-publish", "-info"])
def test_check_names_a_right_that_the_redis_user_lacks(
    shards: list[list[str]], server: RedisServer, right: str
) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", right)
    ended = hotshelf("check", shards, server.url)
    assert "refuses a required command: " in ended.stdout


def test_check_reports_noeviction_and_unreachable_servers(
    shards: list[list[str]], server: RedisServer, tmp_path: Path
) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
    ended = hotshelf("check", shards, server.url)
    assert "warning: maxmemory-policy is noeviction" in ended.stdout
    assert ended.returncode == 0
    ended = hotshelf("check", shards, f"unix://{tmp_path}/none")
    assert "not reached" in ended.stdout
    assert ended.returncode == 2


@pytest.mark.parametrize("host", ["*", "[::]", "no-such-host.invalid", "192.0.2.7"])
def test_an_address_that_cannot_be_used_is_one_line(
    shards: list[list[str]], server: RedisServer, host: str
) -> None:
    ended = hotshelf("serve", shards, server.url, HOTSHELF_HTTP_HOST=host)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"hotshelf: http.host, http.port: cannot listen on {host} port ")
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_one_line(shards: list[list[str]], server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = hotshelf("serve", shards, server.url, HOTSHELF_HTTP_PORT=str(port))
    assert ended.returncode == 2
    assert "Address already in use" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_missing_writable_directory_is_reported(
    shards: list[list[str]], server: RedisServer
) -> None:
    """As in a container whose file system is read-only."""
    program = (
        "import sys, tempfile\n"
        "tempfile._candidate_tempdir_list = lambda: ['/nowhere']\n"
        "from service.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    ended = hotshelf("serve", shards, server.url, program=("-c", program))
    assert ended.returncode == 2
    assert "set TMPDIR" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
