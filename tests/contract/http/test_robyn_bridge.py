"""One Robyn application through the bridge on Granian answers as on Robyn's own server.

``DIFFERENCES`` is the whole list of what is meant to differ; each entry must differ, so that
an entry which stops to be true is noticed.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.process.serve import ServeOptions
from tests.fixtures.ports import free_port
from tests.fixtures.wire import Answer, Server, ask, request

REPOSITORY = Path(__file__).parents[3]
# What the two servers say about themselves and the moment.
OWN_FIELDS = {"date", "server", "x-request-id", "content-length", "connection"}
BIG = bytes(range(256)) * 8192


@dataclass(frozen=True)
class Pair:
    """The same request to both."""

    robyn: int
    bridge: int

    def ask(self, raw: bytes) -> tuple[Answer, Answer]:
        to_head = raw.startswith(b"HEAD ")
        return ask(self.robyn, raw, to_head=to_head), ask(self.bridge, raw, to_head=to_head)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("robyn")
    port = free_port()
    options = ServeOptions(app_target="tests.fixtures.robyn_sample:application")
    own_server = ["-m", "tests.fixtures.robyn_sample", str(port)]
    with (
        Server(
            own_server, port, folder / "robyn.log", {"ROBYN_MAX_PAYLOAD_SIZE": "4000000"}
        ) as own,
        Server.serving(options, folder) as bridge,
    ):
        own.wait_until_listening()
        yield Pair(own.port, bridge.port)
        # Robyn's server with one process does not end on SIGTERM.
        own.signal(signal.SIGKILL)


def seen(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """What clients can see; Robyn keeps the order of fields only within a name."""
    fields = [field for field in answer.fields if field[0] not in OWN_FIELDS]
    return answer.status, sorted(fields, key=lambda field: field[0]), answer.body


SAME = {
    "text": request("GET", "/text"),
    "no parameters": request("GET", "/no-parameters"),
    "dict": request("GET", "/dict"),
    "list": request("GET", "/list"),
    "bytes": request("GET", "/bytes"),
    "number": request("GET", "/number"),
    "none": request("GET", "/none"),
    "tuple": request("GET", "/tuple"),
    "no content": request("GET", "/empty"),
    "handler's header before the global one": request("GET", "/own-header"),
    "repeated response header": request("GET", "/repeated-header"),
    "injected dependency": request("GET", "/dependency"),
    "small body": request("POST", "/echo", body=b'{"a": 1}'),
    "body that is not text": request("POST", "/echo", body=b"\xff\x00"),
    "empty body": request("POST", "/echo", "Content-Length: 0"),
    "no body": request("POST", "/echo"),
    "big body": request("POST", "/echo", body=BIG),
    "chunked body": request("POST", "/echo", "Transfer-Encoding: chunked")
    + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "path parameter": request("GET", "/things/abc"),
    "literal before parameter": request("GET", "/things/special"),
    "two path parameters": request("GET", "/things/a/parts/b"),
    "catch-all": request("GET", "/rest/a/b"),
    "delete": request("DELETE", "/things/x"),
    "query": request("GET", "/request?a=1&b=2&a=3&e&f=x=y"),
    "query left encoded": request("GET", "/request?a=%20+%C3%BC&b=%zz"),
    "request headers": request("GET", "/request", "X-SeNt: a", "x-sent: b", "X-Sent-Other: c"),
    "HEAD of its own": request("HEAD", "/head-only"),
    "OPTIONS of its own": request("OPTIONS", "/own-options"),
    "middleware of the path": request("GET", "/middleware/abc"),
    "stopped by global middleware": request("GET", "/text", "X-Stop: 1"),
    "stopped before there is a route": request("GET", "/nowhere", "X-Stop: 1"),
    "stopped by middleware of the path": request("GET", "/middleware/stop"),
    "path middleware is for GET alone": request("PUT", "/replaced", "X-Stop: 1"),
    "replaced by after-middleware": request("GET", "/replaced"),
}


@pytest.mark.parametrize("name", SAME)
def test_same_answer(pair: Pair, name: str) -> None:
    own, bridged = pair.ask(SAME[name])
    assert seen(bridged) == seen(own)


@pytest.mark.parametrize("name", ["text", "dict", "number"])
def test_no_header_leaks_into_the_next_answer(pair: Pair, name: str) -> None:
    first, second = (ask(pair.bridge, SAME[name]) for _ in range(2))
    assert seen(first) == seen(second)
    assert [f for f in second.fields if f[0] == "x-order"] == [("x-order", "everywhere")]


@dataclass(frozen=True)
class Difference:
    """The intended differences from Robyn's server, with their reasons."""

    reason: str
    raw: bytes
    status: int
    body: bytes | None = None
    field: tuple[str, str] | None = None


DIFFERENCES = {
    "no such path": Difference("errors are problem documents", request("GET", "/nowhere"), 404),
    "fault": Difference("errors are problem documents", request("GET", "/fault"), 500),
    "refused": Difference(
        "a HotshelfError is an answer, not a fault", request("GET", "/refused"), 400
    ),
    "another method": Difference(
        "RFC 9110 15.5.6: the path is there",
        request("POST", "/things/x"),
        405,
        field=("allow", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ),
    "another method of a literal path": Difference(
        "a literal path is a resource of its own: no parameter catches its other methods",
        request("PUT", "/things/special"),
        405,
        field=("allow", "GET, HEAD, OPTIONS"),
    ),
    "OPTIONS of a literal path": Difference(
        "a literal path is a resource of its own",
        request("OPTIONS", "/things/special"),
        204,
        b"",
        ("allow", "GET, HEAD, OPTIONS"),
    ),
    "invented method": Difference(
        "RFC 9110 15.5.6: a 405 names what is allowed",
        request("FOO", "/text"),
        405,
        field=("allow", "GET, HEAD, OPTIONS"),
    ),
    "lower-case method": Difference(
        "RFC 9110 15.5.6: a 405 names what is allowed",
        request("get", "/echo"),
        405,
        field=("allow", "OPTIONS, POST"),
    ),
    "invented method, no path": Difference(
        "nothing there is 404 for every method", request("FOO", "/nowhere"), 404
    ),
    "OPTIONS": Difference(
        "RFC 9110 9.3.7: asked without a route for it",
        request("OPTIONS", "/things/x"),
        204,
        b"",
        ("allow", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ),
    "HEAD": Difference(
        "RFC 9110 9.3.2: HEAD is GET also where there are parameters",
        request("HEAD", "/things/x"),
        200,
        b"",
        ("content-type", "application/json"),
    ),
    "HEAD middleware": Difference(
        "middleware of a GET path also sees its HEAD, which falls back to GET",
        request("HEAD", "/middleware/x"),
        200,
        b"",
        ("x-method", "HEAD"),
    ),
    "trailing slash": Difference("it is another path", request("GET", "/text/"), 404),
    "encoded path": Difference(
        "Granian hands over decoded paths; decoded once is right",
        request("GET", "/things/a%20b"),
        200,
        b'{"param":{"id":"a b"}}',
    ),
    "colon inside a segment": Difference(
        "only a leading colon makes a parameter: /v1/items:batch is one literal path",
        request("POST", "/colon/inXsegment"),
        404,
    ),
    "catch-all beside parameter": Difference(
        "Robyn drops the second route in silence", request("GET", "/both/a/b"), 200, b"many"
    ),
    "request.body": Difference(
        "handlers read the body themselves, under the cap", request("POST", "/unread", body=b"abc"),
        200, b"0 bytes",
    ),
    "cookie": Difference(
        "cookies are not ours: refused rather than dropped", request("GET", "/cookie"), 500
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_deliberate_difference(pair: Pair, name: str) -> None:
    difference = DIFFERENCES[name]
    own, bridged = pair.ask(difference.raw)
    assert bridged.status == difference.status
    assert difference.body is None or bridged.body == difference.body
    assert difference.field is None or bridged.header(difference.field[0]) == difference.field[1]
    assert seen(bridged) != seen(own)


def test_after_middleware_runs_on_errors_too(pair: Pair) -> None:
    for raw in (request("GET", "/nowhere"), request("GET", "/refused"), request("FOO", "/text")):
        answer = ask(pair.bridge, raw)
        assert answer.problem
        assert answer.header("x-order") == "everywhere"
        assert answer.header("x-everywhere") == "yes"


def test_options_of_everything(pair: Pair) -> None:
    answer = ask(pair.bridge, request("OPTIONS", "*"))
    assert (answer.status, answer.header("allow")) == (204, "DELETE, GET, HEAD, OPTIONS, POST, PUT")


PROBE = """
import logging, os, sys
from service.http.robyn_bridge import import_robyn, new_app
before = (list(sys.argv), list(logging.root.handlers), logging.root.level, dict(os.environ))
import_robyn()
new_app().get("/x")(lambda: "x")
assert before == (sys.argv, logging.root.handlers, logging.root.level, dict(os.environ)), before
"""


@pytest.mark.parametrize("argument", ["--help", "--workers=auto", "--dev", "--compile-rust-path=/"])
def test_importing_robyn_leaves_the_process_alone(tmp_path: Path, argument: str) -> None:
    (tmp_path / "robyn.env").write_text("FROM_ROBYN_ENV=1\n")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, argument],
        env={"PYTHONPATH": str(REPOSITORY), "ROBYN_DEV_MODE": "True"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
