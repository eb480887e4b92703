"""Ratios out of samples, and sections of docs/performance.md and README out of result files.

``python -m bench.report`` writes them anew, each section between its pair of markers
(``<!-- NAME -->`` and ``<!-- /NAME -->``); no figure on those pages has another source, which
tests/house/test_figures.py checks.
"""

import json
import re
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import bench_codings, machine, tables
from bench.tables import Row, table

RESULTS = machine.RESULTS
PAGE = machine.ROOT / "docs" / "performance.md"
README = machine.ROOT / "README.md"
# Targets: the least that ours ÷ theirs should be.
TARGETS = {
    ("near", "webdis"): 1.25,
    ("near", "granian"): 0.8,
    ("redis", "webdis"): 1.0,
    ("redis", "fastapi"): 5.0,
    ("redis", "go"): 1.0,
}
VARIANTS = {"near": "near-cache hit", "redis": "Redis hit", "miss": "miss"}
SOURCES = {"near": "near cache", "redis": "Redis"}
# Far above what the relay's polls come to, far below what one statement takes.
_DATABASE_READ_US = 20.0
PEERS = {
    "ours": "Hotshelf",
    "granian": "plain Granian answer",
    "nginx": "nginx, static file",
    "webdis": "webdis",
    "fastapi": "FastAPI + redis-py",
    "go": "Go net/http + go-redis",
}


def ratios(rows: Iterable[Row]) -> list[Row]:
    """Ours ÷ theirs of every pair of neighbouring samples, with the median of the rounds.

    ``by_cpu`` is the ratio of requests per second of CPU time, Redis's share included: what the
    rates would tell if nobody else used the machine.
    """
    pairs: dict[tuple[str, int, str], dict[int, dict[str, Row]]] = {}
    for row in rows:
        if row["kind"] == "pair":
            key = (row["variant"], row["body_bytes"], row["against"])
            pair = pairs.setdefault(key, {}).setdefault(row["round"], {})
            pair["ours" if row["server"] == "ours" else "theirs"] = row
    return [
        {"variant": variant, "body_bytes": size, "against": against} | _medians_of(rounds.values())
        for (variant, size, against), rounds in pairs.items()
    ]


def _medians_of(pairs: Iterable[dict[str, Row]]) -> Row:
    rates, by_cpu = [], []
    for pair in pairs:
        ours, theirs = pair["ours"], pair["theirs"]
        rates.append(round(ours["rate"] / theirs["rate"], 4))
        by_cpu.append(_cpu_us(theirs) / _cpu_us(ours))
    return {
        "rounds": rates,
        "median": round(statistics.median(rates), 4),
        "by_cpu": round(statistics.median(by_cpu), 4),
    }


def _cpu_us(row: Row) -> float:
    """Never 0, which a short sample can come to by the length of a clock tick."""
    return max(1e-3, float(row["server_cpu_us"] + row["redis_cpu_us"]))


def summary(result: Row) -> str:
    """The ratios as lines for a terminal."""
    lines = [
        f"not what it should be: {VARIANTS[variant]}, {size} B, was read from {place}"
        for variant, size, place in _misplaced(result["samples"])
    ]
    lines += [
        f"{VARIANTS[row['variant']]}, {row['body_bytes']} B, ÷ {PEERS[row['against']]}:"
        f" {row['median']:.2f}{_target(row)}, by CPU time {row['by_cpu']:.2f}"
        for row in result["ratios"]
    ]
    return "\n".join(lines)


def source(rows: list[Row]) -> str:
    """Where our own reads came from, by what PostgreSQL and Redis had to do for them."""
    if statistics.median(row["postgres_cpu_us"] for row in rows) > _DATABASE_READ_US:
        return "PostgreSQL"
    # Fewer than one a request: who asks for the same item at the same moment shares a GET.
    return "Redis" if statistics.median(row["redis_hits"] for row in rows) > 0.5 else "near cache"


def _misplaced(rows: Iterable[Row]) -> Iterator[tuple[str, int, str]]:
    """Near-cache and Redis hits that were none, with where they came from."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        if row["kind"] == "pair" and row["server"] == "ours":
            groups.setdefault((row["variant"], row["body_bytes"]), []).append(row)
    for (variant, size), group in groups.items():
        if SOURCES[variant] != (place := source(group)):
            yield variant, size, place


def _target(row: Row) -> str:
    target = TARGETS.get((row["variant"], row["against"]))
    return "" if target is None else f" (target {target:g})"


def end_to_end_tables(result: Row) -> str:
    """Machine, ratios, the servers one by one, latency at a fixed rate, misses."""
    parts = [
        _about(result),
        *(
            f"**Not valid**: {VARIANTS[variant]}, {_size(size)}: was read from {place}."
            for variant, size, place in _misplaced(result["samples"])
        ),
        "Requests/s, ours ÷ theirs, median of the rounds (lowest to highest); by CPU time: the"
        " same with requests per second of CPU, Redis's included, which other load on the machine"
        " disturbs less:",
        _ratio_table(result["ratios"]),
        "Each server at its highest rate, medians:",
        _server_table(result["samples"]),
        f"Each server at {result['plan']['paced_share']:.0%} of its own highest rate, latencies"
        " counted from when a request was due, medians of the rounds:",
        _paced_table(result["samples"]),
        _misses(result["samples"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _about(result: Row) -> str:
    about, plan = result["machine"], result["plan"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    skipped = "".join(f" Skipped: {name} ({why})." for name, why in result["skipped"].items())
    return (
        f"{'**Provisional, on a busy machine**: m' if machine.is_busy(about) else 'M'}easured"
        f" {result['measured_at']} at revision {about['revision']} on {about['cores']} cores of"
        f" {about['processor']}, {about['memory_gib']} GiB, Linux {about['kernel']}, Python"
        f" {about['python']}, {versions}; {machine.told(about)}."
        f" {plan['rounds']} rounds of {plan['seconds']} s, {plan['connections']} connections,"
        f" {plan['items']} items of each size.{skipped}"
    )


def _ratio_table(rows: list[Row]) -> str:
    return table(
        ("read", "body", "÷", "ratio", "target", "by CPU time"),
        (
            (
                VARIANTS[row["variant"]],
                _size(row["body_bytes"]),
                PEERS[row["against"]],
                f"**{row['median']:.2f}** ({min(row['rounds']):.2f} to {max(row['rounds']):.2f})",
                f"{TARGETS.get((row['variant'], row['against']), '')}",
                f"{row['by_cpu']:.2f}",
            )
            for row in rows
        ),
    )


def _server_table(rows: list[Row]) -> str:
    heads = ("requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs", "Redis CPU µs")
    return table(
        ("read", "body", "server", *heads),
        (
            (VARIANTS[variant], _size(size), PEERS[server], *_medians(group))
            for (variant, size, server), group in _by_server(rows, "pair")
        ),
    )


def _by_server(rows: list[Row], kind: str) -> list[tuple[tuple[str, int, str], list[Row]]]:
    """The samples of a kind by read, size and server; ours first, then as they were measured."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        if row["kind"] == kind:
            groups.setdefault((row["variant"], row["body_bytes"], row["server"]), []).append(row)
    return sorted(groups.items(), key=lambda group: group[0][:2])


def _median(group: list[Row], name: str) -> float:
    return float(statistics.median(row[name] for row in group))


def _medians(group: list[Row]) -> tuple[str, ...]:
    latencies = (f"{_median(group, name):.2f}" for name in ("p50_ms", "p99_ms", "p999_ms"))
    cpu = (f"{_median(group, name):.1f}" for name in ("server_cpu_us", "redis_cpu_us"))
    return (f"{_median(group, 'rate'):,.0f}", *latencies, *cpu)


def _paced_table(rows: list[Row]) -> str:
    heads = ("requests/s", "p50 ms", "p99 ms", "p99.9 ms", "generator late, p99 ms")
    return table(
        ("read", "body", "server", *heads),
        (
            (
                *(VARIANTS[variant], _size(size), PEERS[server], f"{_median(group, 'rate'):,.0f}"),
                *(f"{_median(group, name):.2f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
                f"{_median(group, 'late_p99_ms'):.2f}",
            )
            for (variant, size, server), group in _by_server(rows, "paced")
        ),
    )


def _misses(rows: list[Row]) -> str:
    group = [row for row in rows if row["kind"] == "miss"]
    if not group:
        return ""
    postgres = statistics.median(row["postgres_cpu_us"] for row in group)
    rate, p50, p99, p999, cpu, redis_cpu = _medians(group)
    return (
        f"Misses, {_size(group[0]['body_bytes'])} bodies, each item once after Redis was emptied:"
        f" {rate} requests/s, p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms; CPU per request"
        f" {cpu} µs here, {redis_cpu} µs in Redis, {postgres:.1f} µs in PostgreSQL."
    )


def _size(body_bytes: int) -> str:
    return f"{body_bytes / 1000:g} kB"


def speed(result: Row) -> str:
    """For the README: reads of 2 kB from Redis, ours ÷ theirs."""
    by_peer = {
        row["against"]: f"{row['median']:.1f}"
        for row in result["ratios"]
        if (row["variant"], row["body_bytes"]) == ("redis", 2000)
    }
    about = result["machine"]
    return (
        f"**How fast?** With one worker on a {'busy ' if machine.is_busy(about) else ''}machine of"
        f" {about['cores']} cores, reads of 2 kB items from Redis ran at {by_peer['fastapi']} times"
        " the rate of a FastAPI service with the same authentication, limits and entity tags, and"
        f" at {by_peer['go']} times that of a Go one."
    )


@dataclass(frozen=True)
class Section:
    """What is between the markers of ``name`` on ``page``, made of a file of bench/results."""

    name: str
    page: Path
    file: str
    text: Callable[[Row], str]

    def written(self, page: str) -> str:
        """``page`` with this section anew; as it is where there is no result yet."""
        file = RESULTS / self.file
        if not file.exists():
            return page
        return rewrite(page, self.name, self.text(json.loads(file.read_text())))


SECTIONS = (
    Section("end_to_end", PAGE, "end_to_end.json", end_to_end_tables),
    Section("codings", PAGE, "codings.json", bench_codings.table),
    Section("codings_steps", PAGE, "codings.json", tables.codings_steps),
    Section("writes", PAGE, "writes.json", tables.writes),
    Section("lists_scale", PAGE, "lists-scale.json", tables.lists_scale),
    Section("lists_skew", PAGE, "lists-skew.json", tables.lists_skew),
    Section("soak", PAGE, "soak.json", tables.soak),
    Section("observe", PAGE, "observe.json", tables.observe),
    Section("speed", README, "end_to_end.json", speed),
)


def rewrite(page: str, name: str, text: str) -> str:
    """``page`` with what is between the markers of ``name`` replaced. Raises ValueError."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    new, found = re.subn(pattern, lambda m: f"{m[1]}{text}\n{m[2]}", page, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{found} pairs of markers for {name}")
    return new


def main() -> None:
    for section in SECTIONS:
        section.page.write_text(section.written(section.page.read_text()))


if __name__ == "__main__":
    main()
