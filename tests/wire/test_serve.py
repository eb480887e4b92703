"""``hotshelf serve`` as a process: drains, finishes requests, restarts, leaves no process."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.process.serve import ServeOptions, serve
from tests.fixtures.ports import free_port
from tests.fixtures.wire import Connection, Server, eventually, request

TOY = "tests.fixtures.toy_service:application"


def serving(folder: Path, **options: object) -> Server:
    toy = ServeOptions(app_target=TOY, **options)  # type: ignore[arg-type]
    return Server.serving(toy, folder, TOY_FOLDER=str(folder))


def worker_pid(server: Server) -> int:
    return int(server.ask(request("GET", "/pid")).body)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_gone(pid: int) -> bool:
    """Also a zombie counts: it waits for a parent that may not be ours."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def answers(server: Server) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return server.ask(request("GET", "/pid")).status == 200
        except (OSError, AssertionError):
            return False

    return asked


def test_sigterm_ends_everything_with_status_0(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        worker = worker_pid(server)
        granian = parent_of(worker)
        server.signal()
        assert server.exit_status() == 0
        assert is_gone(worker)
        assert is_gone(granian)


def test_the_collector_ignores_objects_of_the_start(tmp_path: Path) -> None:
    """Looking through all of it stalls a worker for tens of milliseconds, again and again."""
    with serving(tmp_path) as server:
        assert int(server.ask(request("GET", "/frozen")).body) > 10_000


def test_a_signal_while_a_worker_starts_is_not_lost(tmp_path: Path) -> None:
    slow = ServeOptions(app_target="tests.fixtures.toy_service:slow_to_listen")
    with Server.starting(slow, tmp_path, TOY_FOLDER=str(tmp_path)) as server:
        eventually((tmp_path / "waiting").exists)
        server.signal()
        eventually(lambda: "Shutting down granian" in server.log.read_text())
        (tmp_path / "open").touch()
        assert server.exit_status() == 0


def test_drain_sends_close_and_continues_answering(tmp_path: Path) -> None:
    with serving(tmp_path, drain_s=60.0) as server, Connection(server.port) as kept:
        kept.send(request("GET", "/pid"))
        assert kept.answer().header("connection") is None
        server.signal()
        eventually(lambda: server.ask(request("GET", "/pid")).header("connection") == "close")
        kept.send(request("GET", "/pid"))
        assert kept.answer().header("connection") == "close"
        assert kept.is_closed()
        # The fast path and errors say it too.
        assert server.ask(request("GET", "/items/" + "a" * 26)).header("connection") == "close"
        assert server.ask(request("GET", "/nowhere")).header("connection") == "close"
        # A second signal ends the drain, not the requests.
        server.signal()
        assert server.exit_status() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_requests_are_answered_and_idle_clients_do_not_hold_it_up(
    tmp_path: Path, number: signal.Signals
) -> None:
    with (
        serving(tmp_path) as server,
        Connection(server.port) as idle,
        Connection(server.port) as busy,
        Connection(server.port) as silent,
    ):
        idle.send(request("GET", "/pid"))
        assert idle.answer().status == 200
        busy.send(request("GET", "/wait"))
        eventually((tmp_path / "waiting").exists)
        server.signal(number)
        assert idle.is_closed()
        eventually(lambda: not _accepts(server.port))
        (tmp_path / "open").touch()
        answer = busy.answer()
        assert (answer.body, answer.header("connection")) == (b"waited", "close")
        assert silent.is_closed()
        assert server.exit_status() == 0


def test_a_body_in_flight_is_awaited(tmp_path: Path) -> None:
    with serving(tmp_path) as server, Connection(server.port) as sending:
        sending.send(request("POST", "/echo", "Expect: 100-continue", "Content-Length: 5"))
        assert sending.line() == b"HTTP/1.1 100 Continue\r\n"
        assert sending.line() == b"\r\n"
        server.signal()
        eventually(lambda: not _accepts(server.port))
        sending.send(b"whole")
        assert sending.answer().body == b"whole"
        assert server.exit_status() == 0


def test_a_request_that_outlasts_the_grace_time_is_cut_and_logged(tmp_path: Path) -> None:
    with serving(tmp_path, grace_s=1.0) as server, Connection(server.port) as busy:
        worker = worker_pid(server)
        busy.send(request("GET", "/wait"))
        eventually((tmp_path / "waiting").exists)
        server.signal()
        assert server.exit_status() == 1
        assert is_gone(worker)


def test_a_second_signal_cuts_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, grace_s=600.0) as server, Connection(server.port) as busy:
        busy.send(request("GET", "/wait"))
        eventually((tmp_path / "waiting").exists)
        server.signal(signal.SIGINT)
        eventually(lambda: not _accepts(server.port))
        server.signal(signal.SIGINT)
        assert server.exit_status() == 1


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        first = worker_pid(server)
        granian = parent_of(first)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: answers(server)() and worker_pid(server) != first)
        assert parent_of(worker_pid(server)) == granian
        server.signal()
        assert server.exit_status() == 0


def test_a_killed_granian_is_started_again_and_leaves_no_worker(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        first = worker_pid(server)
        os.kill(parent_of(first), signal.SIGKILL)
        eventually(lambda: is_gone(first))
        eventually(answers(server))
        assert worker_pid(server) != first
        server.signal()
        assert server.exit_status() == 0


def test_a_crash_loop_ends_granian_but_not_the_service(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        granian = parent_of(worker_pid(server))
        for _ in range(2):
            eventually(answers(server))
            os.kill(worker_pid(server), signal.SIGKILL)
        eventually(lambda: is_gone(granian))
        eventually(answers(server))


def test_nothing_survives_a_killed_parent(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        worker = worker_pid(server)
        granian = parent_of(worker)
        server.process.kill()
        eventually(lambda: is_gone(worker) and is_gone(granian))
        assert not _accepts(server.port)


def test_an_application_that_cannot_start_is_given_up(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(AssertionError, match="giving up"):
        Server.serving(ServeOptions(app_target="tests.fixtures.nothing:here"), tmp_path)
    assert not _accepts(port)


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        taken = ServeOptions(app_target=TOY, port=server.port)
        with pytest.raises(OSError, match="in use"):
            serve(taken)


def test_the_working_directory_shadows_no_module(tmp_path: Path) -> None:
    """``service`` is a common name; one in the caller's directory must not be loaded."""
    for package in ("service", "granian", "uvloop"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong one')")
    with serving(tmp_path) as server:
        assert server.ask(request("GET", "/pid")).status == 200


def _accepts(port: int) -> bool:
    try:
        Connection(port).__exit__()
    except OSError:
        return False
    return True
