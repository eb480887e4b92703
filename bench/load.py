"""The load generator, bench/pacer: at a given rate, a given number, or as fast as answers come.

docs/decisions/0110-load-generator.md says why it is our own.
"""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import redis

from bench.processes import Server, cpu_s
from service.embedded import EmbeddedStack

ROOT = Path(__file__).parents[1]
CONNECTIONS = 64
# The generator waits 10 s for answers after the end of its timetable.
_SLACK_S = 30


@dataclass(frozen=True)
class Sample:
    """One run against one server. Latencies in ms; CPU in µs and keys found in Redis a request.

    Latencies count from when a request was due. ``latencies_ms`` are pairs of a share of the
    requests and the latency that none of them exceeds. ``late_*_ms`` is how late requests left
    although a connection was free; ``generator_cpu_s`` is what the generator itself took.
    """

    requests: int
    errors: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    generator_cpu_s: float
    latencies_ms: list[list[float]]
    server_cpu_us: float = 0.0
    redis_cpu_us: float = 0.0
    postgres_cpu_us: float = 0.0
    redis_hits: float = 0.0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True)
class Measure:
    """Runs load and reads before and after it what the servers count themselves."""

    pacer: Path
    redis: redis.Redis
    redis_pid: int
    postgres_pids: tuple[int, ...]

    def fastest(self, server: Server, requests: Path, seconds: float) -> Sample:
        """As fast as 64 connections can."""
        return self.paced(server, requests, seconds)

    def paced(
        self, server: Server, requests: Path, seconds: float, rate: float = 0, count: int = 0
    ) -> Sample:
        """``rate`` requests a second (0: as fast as possible); ends after ``count`` unless 0.

        Raises RuntimeError unless every answer was a 200.
        """
        before = self._counters(server)
        done = subprocess.run(
            pacer_command(self.pacer, server.port, requests, seconds, rate, count),
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + _SLACK_S,
        )
        after = self._counters(server)
        seen = json.loads(done.stdout)
        if seen["errors"] or not seen["requests"]:
            raise RuntimeError(f"not every answer of {server.name} was good: {seen}")
        each = {name: (after[name] - before[name]) / seen["requests"] for name in after}
        return Sample(**seen, **each)

    def _counters(self, server: Server) -> dict[str, float]:
        return {
            "server_cpu_us": cpu_s(server.pid) * 1e6,
            "redis_cpu_us": cpu_s(self.redis_pid) * 1e6,
            "postgres_cpu_us": sum(map(cpu_s, self.postgres_pids)) * 1e6,
            "redis_hits": self.redis.info("stats")["keyspace_hits"],
        }


def measure_of(stack: EmbeddedStack, client: redis.Redis) -> Measure:
    """For servers that use this stack."""
    nodes = [stack.node(s, n) for s, urls in enumerate(stack.shards) for n in range(len(urls))]
    postgres = [node.process.pid for node in nodes if node.process is not None]
    assert stack.redis.process is not None
    return Measure(build_pacer(), client, stack.redis.process.pid, tuple(postgres))


def as_row(sample: Sample) -> dict[str, float | int | list[list[float]]]:
    """What goes into a result file, rounded to what can be told apart."""
    row = asdict(sample) | {"rate": sample.rate}
    return {n: round(v, 6) if isinstance(v, float) else v for n, v in row.items()}


def pacer_command(
    pacer: Path, port: int, requests: Path, seconds: float, rate: float = 0, count: int = 0
) -> list[str]:
    """The command line of a run over 64 connections; see bench/pacer/src/main.rs."""
    plan = [str(CONNECTIONS), str(seconds), str(rate), str(count)]
    return [str(pacer), f"127.0.0.1:{port}", str(requests), *plan]


def build_pacer() -> Path:
    """Compile it where cargo puts things. Raises CalledProcessError with cargo's words shown."""
    command = ["cargo", "build", "--quiet", "--release", "--package", "pacer"]
    command += ["--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    artifacts = map(json.loads, built.stdout.splitlines())
    return next(Path(a["executable"]) for a in artifacts if a.get("executable"))
