"""The load generators: wrk asks as fast as it can, pacer at a given rate or a given number.

wrk starts a latency when it sends, and sends only after the answer before: right for the
highest rate, wrong for a fixed one, where a stall hides the requests that it holds up. Debian
has no wrk2, so bench/pacer counts from when a request was due.
"""

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import redis

from bench.processes import Server, cpu_s

ROOT = Path(__file__).parents[1]
CONNECTIONS = 64
_SLACK_S = 30


@dataclass(frozen=True)
class Sample:
    """One run against one server. Latencies in ms; CPU in µs and keys found in Redis a request."""

    requests: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    late_p99_ms: float | None = None
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

    def fastest(self, server: Server, requests: Path, seconds: int) -> Sample:
        """As fast as 64 connections can; by wrk, or by pacer where there is no wrk."""
        if shutil.which("wrk") is None:
            return self.paced(server, requests, seconds)
        arguments = [
            *("wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--timeout", "10s"),
            *("--duration", f"{seconds}s", "--latency"),
            *("--script", str(ROOT / "bench" / "requests.lua")),
            *(f"http://127.0.0.1:{server.port}", "--", str(requests)),
        ]
        return self._run(server, arguments, seconds)

    def paced(
        self, server: Server, requests: Path, seconds: float, rate: float = 0, count: int = 0
    ) -> Sample:
        """``rate`` requests a second (0: as fast as possible); ends after ``count`` unless 0."""
        address = f"127.0.0.1:{server.port}"
        plan = [str(CONNECTIONS), str(seconds), str(rate), str(count)]
        return self._run(server, [str(self.pacer), address, str(requests), *plan], seconds)

    def _run(self, server: Server, arguments: list[str], seconds: float) -> Sample:
        before = self._counters(server)
        done = subprocess.run(
            arguments, capture_output=True, text=True, check=True, timeout=seconds + _SLACK_S
        )
        after = self._counters(server)
        seen = json.loads(done.stdout.splitlines()[-1])
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


def as_row(sample: Sample) -> dict[str, float | int | None]:
    """What goes into a result file, rounded to what can be told apart."""
    row = asdict(sample) | {"rate": sample.rate}
    return {n: round(v, 6) if isinstance(v, float) else v for n, v in row.items()}


def build_pacer() -> Path:
    """Compile it where cargo puts things. Raises CalledProcessError with cargo's words shown."""
    command = ["cargo", "build", "--quiet", "--release", "--package", "pacer"]
    command += ["--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    artifacts = map(json.loads, built.stdout.splitlines())
    return next(Path(a["executable"]) for a in artifacts if a.get("executable"))
