"""Tables and sentences of result files, as Markdown. bench/report.py puts them into pages."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from bench import machine

Row = dict[str, Any]

_SCALE_TARGET, _DEPTH_TARGET = 1.2, 1.1
_VARIANTS = {
    "off": "without",
    "on": "histograms and access log",
    "traced": "and 1 % of requests traced",
}
# The next level that was measured, and the one that is used.
_STEPS = (("zstd", 6, 3), ("gzip", 9, 6), ("br", 9, 5))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(heads)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def soak(result: Row) -> str:
    """What each worker held after some minutes and at the end, and what was checked meanwhile."""
    rows = table(
        (
            "worker",
            f"after {result['first_s'] / 60:.2g} minutes",
            "at the end",
            "ratio",
            "descriptors",
        ),
        (
            (
                str(number),
                *(f"{worker[at] / 2**20:.1f} MiB" for at in ("first_bytes", "last_bytes")),
                f"{worker['ratio']:.3f}",
                f"{worker['first_descriptors']:g} → {worker['last_descriptors']:g}",
            )
            for number, worker in enumerate(result["workers"], 1)
        ),
    )
    checked, broken = result["checked_operations"], len(result["violations"])
    lasting = len(result["keys_without_ttl"])
    return (
        f"Measured {result['measured_at']} at revision {result['machine']['revision']}:"
        f" {result['minutes']:g} minutes, {result['requests']:,} requests,"
        f" {result['failures']:,} failed, {result['limited']:,} were answered 429. Histories of"
        f" {checked:,} requests were checked: {broken} broken promises. Rows in the outbox:"
        f" {result['outbox_most']} at most, {result['outbox_left']} at the end. Keys in Redis"
        f" without a TTL: {lasting}. Locust took {result['cpu_share']:.0%} of a core.\n\n{rows}"
    )


def writes(result: Row) -> str:
    """Writes and replays beside pgbench, over HTTP and the write path alone."""
    heads = ("", "÷ pgbench", "target", "write path alone ÷ pgbench")
    rows = (
        (kind, *(f"{figures[name]:.2f}" for name in ("ratio", "target", "ratio_alone")))
        for kind, figures in result["kinds"].items()
    )
    load = f"Load average of the machine at the end: {result['load_average'][0]:.1f}"
    # Older results do not say it.
    more = f"; {machine.told_of(result['others'])}" if "others" in result else ""
    return f"{load} ({result['cpus']} processors){more}.\n\n{table(heads, rows)}"


def lists_scale(result: Row) -> str:
    """Pages of many items ÷ of few, pages far back ÷ near the front, and how hard lists end."""
    few, many = (f"{size:,}" for size in sorted(result["sizes"]))
    scale = table(
        ("page", f"{many} ÷ {few} items, median", "target"),
        (
            (name, f"{one['ratio']:.2f}", f"{_SCALE_TARGET}")
            for name, one in result["scale"].items()
        ),
    )
    depth = table(
        (f"of {many} items, sorted by", "page after 100,000 items ÷ page after one", "target"),
        (
            (name, f"{one['ratio']:.2f}", f"{_DEPTH_TARGET}")
            for name, one in result["depth"].items()
        ),
    )
    answered = [one["took_s"] for one in result["hard"].values() if one["outcome"] == 200]
    others = len(result["hard"]) - len(answered)
    hard = (
        f"Allowed but expensive lists end within their timeout: of {len(result['hard'])} such"
        f" lists over {many} items {len(answered)} are answered (the slowest in"
        f" {max(answered):.1f} s) and"
        f" {others} are `query-too-expensive` after the default of 5 s."
    )
    load = f"Load average before the run {result['machine']['load_before']}, which affects"
    return f"{load} both sides of a ratio.\n\n{scale}\n\n{depth}\n\n{hard}"


def lists_skew(result: Row) -> str:
    """How all allowed lists over skewed items end."""
    outcomes: Counter[str] = Counter(result["outcomes"])
    return (
        f"Of {result['lists']} allowed combinations of filter and sort order over"
        f" {result['items']:,} items, under a statement timeout of {result['timeout_s']:g} s,"
        f" {outcomes['200']} are answered; `query-too-expensive`:"
        f" {outcomes['query-too-expensive']}."
    )


def observe(result: Row) -> str:
    """CPU time of a read without, with, and with all observation."""
    rows = table(
        ("CPU time of an answer, least of the rounds", "near-cache hit", "Redis hit"),
        (
            (words, *(f"{result[read]['least_us'][name]:.1f} µs" for read in ("near", "redis")))
            for name, words in _VARIANTS.items()
        ),
    )
    ratios = "; ".join(
        f"{words} {result[read]['off_by']['on']:.2f}, traced {result[read]['off_by']['traced']:.2f}"
        for read, words in (("near", "near-cache hit"), ("redis", "Redis hit"))
    )
    about = result["machine"]
    return (
        f"{rows}\n\nRequests per second of CPU, with ÷ without: {ratios} (goals 0.97 and, traced,"
        f" 0.95). Measured at revision {about['revision']} on {about['cores']} cores, load average"
        f" before the run {about['load_before']}; one round took up to {_spread(result):.1f} times"
        " what another one of the same service did, so this does not show the goals."
    )


def _spread(result: Row) -> float:
    rounds = [us for read in ("near", "redis") for us in result[read]["rounds_us"].values()]
    return float(max(max(us) / min(us) for us in rounds))


def codings_steps(result: Row) -> str:
    """What the next level of each coding would save and cost, over all sizes of body."""
    sentences = []
    for coding, level, used in _STEPS:
        smaller, longer = [], []
        for one in result["classes"]:
            cells = {(cell["coding"], cell["level"]): cell for cell in one["levels"]}
            more, now = cells[coding, level], cells[coding, used]
            smaller.append((1 - more["ratio"] / now["ratio"]) * 100)
            longer.append(more["us"] / now["us"])
        sentences.append(
            f"{coding} {level} is {min(smaller):.1f} to {max(smaller):.1f} % smaller than {coding}"
            f" {used} for {min(longer):.1f} to {max(longer):.1f} times the time"
        )
    return "; ".join(sentences) + "."
