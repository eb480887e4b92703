"""The development stack under faults: what a kill or a freeze of each part does to the others."""

import os
import signal
import socket
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.embedded import EmbeddedStack, find_stack
from service.embedded import stack as stack_module
from service.embedded.processes import await_true, free_port, pids_marked
from tests.fixtures.stack import (
    assert_no_process,
    eventually,
    execute,
    kill_parent,
    processes_of,
    run_parent,
)

NO_RETRY = Retry(NoBackoff(), 0)


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
    with (
        redis.Redis(port=stack.redis.port, retry=NO_RETRY) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
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


def test_servers_outlive_the_thread_that_started_them(stack_dir: Path) -> None:
    embedded = EmbeddedStack(stack_dir, shards=1, replicas=0, durable=False)
    thread = threading.Thread(target=embedded.start)
    thread.start()
    thread.join()
    try:
        assert execute(embedded.shards[0][0], "SELECT 1") == [(1,)]
        assert embedded.redis.is_ready()
    finally:
        embedded.stop()


def test_a_killed_primary_keeps_acknowledged_writes(small_stack: EmbeddedStack) -> None:
    primary = small_stack.node(0, 0)
    execute(primary.url, "CREATE TABLE kept AS SELECT 7 AS seven")
    primary.kill()
    assert primary.pids() == []
    with pytest.raises(psycopg.OperationalError):
        execute(primary.url, "SELECT 1")
    assert execute(small_stack.node(0, 1).url, "SELECT 1") == [(1,)]
    primary.restart()
    assert execute(primary.url, "SELECT seven FROM kept") == [(7,)]
    execute(primary.url, "UPDATE kept SET seven = 8")
    eventually(small_stack.node(0, 1).url, "SELECT seven FROM kept", 8)


def test_a_paused_primary_answers_nothing_until_it_is_resumed(small_stack: EmbeddedStack) -> None:
    primary = small_stack.node(0, 0)
    with psycopg.connect(primary.url, autocommit=True) as connection:
        primary.pause()

        def are_frozen() -> bool:
            """Each stops at its next chance to run."""
            states = {
                Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                for pid in primary.pids()
            }
            return states == {"T"}

        await_true(are_frozen, "a process of the server still runs")
        primary.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_paused_server_is_stopped_with_the_rest(small_stack: EmbeddedStack) -> None:
    small_stack.node(0, 0).pause()
    small_stack.redis.pause()
    small_stack.stop()
    assert_no_process(small_stack.data_dir)


def test_failover_and_the_old_primary_comes_back_as_replica(small_stack: EmbeddedStack) -> None:
    old, new = small_stack.node(0, 0), small_stack.node(0, 1)
    old.kill()
    new.promote()
    execute(new.url, "CREATE TABLE after_failover AS SELECT 1 AS one")
    old.rejoin(new)
    eventually(old.url, "SELECT one FROM after_failover", 1)
    small_stack.stop()
    again = small_stack.start()
    assert again.shards == [[new.url, old.url]]
    assert execute(again.shards[0][0], "SELECT one FROM after_failover") == [(1,)]


def test_of_two_primaries_the_promoted_one_is_kept_at_the_next_start(
    small_stack: EmbeddedStack,
) -> None:
    old, new = small_stack.node(0, 0), small_stack.node(0, 1)
    old.kill()
    new.promote()
    execute(new.url, "CREATE TABLE acknowledged AS SELECT 1 AS one")
    small_stack.stop()
    primary, replica = small_stack.start().shards[0]
    assert primary == new.url
    assert execute(primary, "SELECT one FROM acknowledged") == [(1,)]
    eventually(replica, "SELECT one FROM acknowledged", 1)


def test_redis_can_be_killed_paused_and_restarted(small_stack: EmbeddedStack) -> None:
    client = redis.Redis.from_url(small_stack.redis_url, socket_timeout=0.2, retry=NO_RETRY)
    with client:
        client.set("k", "v")
        small_stack.redis.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("k")
        small_stack.redis.resume()
        assert client.get("k") == b"v"
        small_stack.redis.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("k")
        small_stack.redis.restart()
        assert client.get("k") is None


def test_a_port_that_is_taken_before_the_server_starts_is_replaced(
    stack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our choice and the start another process may take it."""
    with socket.create_server(("127.0.0.1", 0)) as another:
        taken = another.getsockname()[1]
        choices = iter([taken])
        monkeypatch.setattr(
            stack_module, "free_port", lambda *given: next(choices, 0) or free_port(*given)
        )
        with EmbeddedStack(stack_dir, shards=1, replicas=0, durable=False) as running:
            assert f":{taken}/" not in running.redis_url


def test_nothing_outlives_a_killed_parent_and_the_next_start_recovers(stack_dir: Path) -> None:
    parent = run_parent(stack_dir)
    first = find_stack(stack_dir)
    execute(first.shards[0][0], "CREATE TABLE kept AS SELECT 7 AS seven")
    # A query that would go on for a minute must end as well.
    with closing(psycopg.connect(first.shards[0][0], autocommit=True)) as busy:
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        assert len(processes_of(stack_dir)) > 10
        kill_parent(parent)
        assert_no_process(stack_dir)
    with EmbeddedStack(stack_dir, shards=1, replicas=1, durable=False) as again:
        assert again.shards == first.shards
        assert execute(again.shards[0][0], "SELECT seven FROM kept") == [(7,)]
        execute(again.shards[0][0], "UPDATE kept SET seven = 8")
        eventually(again.shards[0][1], "SELECT seven FROM kept", 8)


def test_a_start_right_after_the_kill_does_not_wait_for_the_dying(stack_dir: Path) -> None:
    parent = run_parent(stack_dir)
    first = find_stack(stack_dir)
    kill_parent(parent)
    with EmbeddedStack(stack_dir, shards=1, replicas=1, durable=False) as again:
        assert again.shards == first.shards


def test_frozen_servers_of_a_killed_parent_end_at_the_next_start(stack_dir: Path) -> None:
    parent = run_parent(stack_dir)
    first = find_stack(stack_dir)
    left = [pid for pid in processes_of(stack_dir) if pid != parent.pid]
    for pid in left:
        os.kill(pid, signal.SIGSTOP)
    kill_parent(parent)
    with EmbeddedStack(stack_dir, shards=1, replicas=1, durable=False) as again:
        assert again.shards == first.shards
        assert not set(left) & set(processes_of(stack_dir))
