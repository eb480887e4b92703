"""The servers that are compared: ours, and the peers of ``bench/peers``, one worker each."""

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import Server, started
from bench.workload import PEER_BODY, PEER_DATABASE, Workload
from service.embedded import EmbeddedStack, Stack
from service.settings import Settings
from tests.fixtures.ports import free_port
from tests.fixtures.running import AUDIENCE, ISSUER, RunningService, start_service

PEERS_FOLDER = Path(__file__).parent / "peers"
_GO_BUILD_S = 300
NEAR_CACHE_OFF = "HOTSHELF_NEAR_CACHE_BYTES"


@dataclass(frozen=True)
class Place:
    """What a peer needs to know to serve ``workload``."""

    folder: Path
    redis_url: str  # of the peers' database
    workload: Workload


@dataclass(frozen=True)
class Launch:
    """How to start a peer, and the request target of an id."""

    arguments: list[str]
    env: dict[str, str] = field(default_factory=dict)
    target: str = "/v1/items/{}"


@contextlib.contextmanager
def ours(
    stack: EmbeddedStack, folder: Path, source: str = "", **settings: str
) -> Iterator[RunningService]:
    """One worker under a quota that nobody reaches; ``settings`` are environment variables.

    ``source`` is the root of another revision to run.
    """
    quota = {"HOTSHELF_LIMITS_QUOTA": "1000000", "HOTSHELF_LIMITS_WINDOW_S": "1"}
    servers = Stack(stack.shards, stack.redis_url)
    running = start_service(servers, folder, source=source, **quota | settings)
    try:
        yield running
    finally:
        running.stop()


def server_of(service: RunningService) -> Server:
    """The service as the load generators see it."""
    port = urlsplit(service.url).port
    assert port is not None
    return Server("ours", port, service.process.pid)


def has_near_cache() -> bool:
    """Whether this revision has a near cache to switch off."""
    return "near_cache" in {section.name for section in dataclasses.fields(Settings)}


@contextlib.contextmanager
def peer(name: str, place: Place) -> Iterator[tuple[Server, list[str]]]:
    """The running peer and the request targets of the workload's items."""
    port = free_port()
    launch = PEERS[name](place, port)
    with started(name, port, launch.arguments, place.folder, launch.env) as server:
        yield server, [launch.target.format(item_id) for item_id in place.workload.ids]


def _granian(place: Place, port: int) -> Launch:
    """The flags are those of `hotshelf serve`."""
    body = place.folder / "body.json"
    body.write_bytes(next(iter(place.workload.bodies.values())))
    arguments = [
        *(sys.executable, "-m", "granian", "--interface", "rsgi", "--loop", "uvloop"),
        *("--http", "1", "--no-ws", "--http1-buffer-size", "65536", "--backlog", "4096"),
        *("--backpressure", "16384", "--host", "127.0.0.1", "--port", str(port)),
        *("--log-level", "warning", "bench.peers.plain_rsgi:application"),
    ]
    return Launch(arguments, {"BENCH_BODY": str(body), "PYTHONPATH": str(PEERS_FOLDER.parents[1])})


def _fastapi(place: Place, port: int) -> Launch:
    arguments = [
        *(sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools"),
        *("--workers", "1", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"),
        *("--log-level", "warning", "bench.peers.fastapi_items:app"),
    ]
    return Launch(arguments, _peer_env(place) | {"PYTHONPATH": str(PEERS_FOLDER.parents[1])})


def _go(place: Place, port: int) -> Launch:
    """Two threads for Go code, as a Granian worker has one for Python and one for sockets."""
    env = _peer_env(place) | {"BENCH_PORT": str(port), "GOMAXPROCS": "2"}
    binary = _built_go()
    assert isinstance(binary, Path)
    return Launch([str(binary)], env)


def _peer_env(place: Place) -> dict[str, str]:
    return {
        "BENCH_REDIS_URL": place.redis_url,
        "BENCH_JWKS": str(place.folder / "keys.json"),
        "BENCH_ISSUER": ISSUER,
        "BENCH_AUDIENCE": AUDIENCE,
    }


def _webdis(place: Place, port: int) -> Launch:
    url = urlsplit(place.redis_url)
    configuration = {
        "redis_host": url.hostname,
        "redis_port": url.port,
        "redis_auth": url.password,
        "http_host": "127.0.0.1",
        "http_port": port,
        "threads": 2,
        "pool_size": 20,
        "daemonize": False,
        "database": PEER_DATABASE,
        "verbosity": 0,
        "logfile": str(place.folder / "webdis-access.log"),
    }
    path = place.folder / "webdis.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(configuration))
    return Launch(["webdis", str(path)], target=f"/GET/{PEER_BODY}{{}}.txt")


def _nginx(place: Place, port: int) -> Launch:
    root = place.folder / "nginx"
    items = root / "v1" / "items"
    items.mkdir(parents=True, exist_ok=True)
    for item_id, body in place.workload.bodies.items():
        (items / item_id).write_bytes(body)
    template = (PEERS_FOLDER / "nginx.conf").read_text()
    (root / "nginx.conf").write_text(template.replace("PORT", str(port)))
    arguments = ["nginx", "-p", str(root), "-c", "nginx.conf", "-e", "stderr"]
    return Launch(arguments)


PEERS: dict[str, Callable[[Place, int], Launch]] = {
    "granian": _granian,
    "nginx": _nginx,
    "webdis": _webdis,
    "fastapi": _fastapi,
    "go": _go,
}


def missing(name: str) -> str | None:
    """Why this peer cannot run here; None when it can."""
    if name in ("nginx", "webdis") and shutil.which(name) is None:
        return f"{name} is not installed (Debian: apt-get install {name})"
    if name == "go":
        built = _built_go()
        return None if isinstance(built, Path) else built
    return None


@cache
def _built_go() -> Path | str:
    """The binary, or why there is none; its modules come through the module proxy, once."""
    if shutil.which("go") is None:
        return "go is not installed"
    target = PEERS_FOLDER.parents[1] / "target" / "bench-go-peer"
    target.parent.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            ["go", "build", "-o", str(target), "."],
            cwd=PEERS_FOLDER / "go",
            capture_output=True,
            text=True,
            timeout=_GO_BUILD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"go build took longer than {_GO_BUILD_S} s"
    if done.returncode:
        return f"go build failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return target
