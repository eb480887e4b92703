"""Each connection is a file descriptor, of which many systems allow few unless asked."""

from pathlib import Path

from bench.processes import tree
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import start_service

# The usual soft limit of shells and of systemd is 1,024.
FEW = """
import resource, runpy, sys
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
sys.argv = ["hotshelf", "serve"]
runpy.run_module("service.cli", run_name="__main__")
"""


def test_a_worker_takes_what_the_system_allows(stack: EmbeddedStack, tmp_path: Path) -> None:
    servers = Stack(stack.shards, stack.redis_url)
    running = start_service(servers, tmp_path, program=("-c", FEW))
    try:
        limits = {_open_files(pid) for pid in tree(running.process.pid)[1:]}
    finally:
        assert running.stop() == 0
    assert limits
    for soft, most in limits:
        assert soft == most != "256"


def _open_files(pid: int) -> tuple[str, str]:
    """Soft and hard limit."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    return soft, hard
