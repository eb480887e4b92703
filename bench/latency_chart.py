"""Latency by percentile as SVG, on log axes: ours and the peers, each at its share of its rate."""

import math
import statistics
from collections.abc import Iterator
from html import escape
from typing import Any

from bench.report import PEERS, VARIANTS

Row = dict[str, Any]
Points = list[tuple[float, float]]  # share of the requests, ms

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 420, 260, 46, 34, 12, 30
_NINES = {0.0: "0", 0.9: "90 %", 0.99: "99 %", 0.999: "99.9 %", 0.9999: "99.99 %"}
_LONGEST = 4.7  # nines: what a median of rounds can tell
_COLOURS = {
    "ours": "#c2410c",
    "granian": "#1d4ed8",
    "nginx": "#15803d",
    "webdis": "#7e22ce",
    "fastapi": "#64748b",
    "go": "#0891b2",
}
_TEXT, _GRID = "#1e293b", "#e2e8f0"


def latency_chart(result: Row) -> str:
    """A panel for each kind of read and size; a line is the median of the rounds."""
    panels = list(_panels(result["samples"]))
    columns = 2 if len(panels) > 1 else 1
    width, height = columns * _WIDTH, max(1, math.ceil(len(panels) / columns)) * _HEIGHT
    marks = [
        f'<g transform="translate({n % columns * _WIDTH} {n // columns * _HEIGHT})">'
        + "\n".join(_panel(title, lines))
        + "</g>"
        for n, (title, lines) in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(marks)
        + "\n</svg>\n"
    )


def _panels(rows: list[Row]) -> Iterator[tuple[str, dict[str, Points]]]:
    groups: dict[tuple[str, int], dict[str, list[Row]]] = {}
    for row in rows:
        # Results of earlier generators have no latencies to draw.
        if row["kind"] == "paced" and "latencies_ms" in row:
            servers = groups.setdefault((row["variant"], row["body_bytes"]), {})
            servers.setdefault(row["server"], []).append(row)
    for (variant, size), servers in groups.items():
        title = f"{VARIANTS[variant]}, {size / 1000:g} kB: ms at a percentile"
        yield title, {server: _line(seen) for server, seen in servers.items()}


def _line(rounds: list[Row]) -> Points:
    """At every share that all rounds have, the median of theirs; without the last one, 100 %."""
    seen = [{share: ms for share, ms in row["latencies_ms"] if share < 1} for row in rounds]
    shares = sorted(set.intersection(*(set(each) for each in seen)))
    return [(share, statistics.median(each[share] for each in seen)) for share in shares]


def _panel(title: str, lines: dict[str, Points]) -> Iterator[str]:
    values = [ms for points in lines.values() for _, ms in points if ms > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def place(share: float, ms: float) -> tuple[float, float]:
        across = min(_LONGEST, -math.log10(1 - share)) / _LONGEST
        up = (math.log10(max(ms, 10.0**low)) - low) / (high - low)
        inner = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + across * inner[0], _HEIGHT - _BOTTOM - up * inner[1]

    yield _text(_LEFT, 16, title, weight="bold")
    for power in range(low, high + 1):
        x, y = place(0, 10.0**power)
        yield _rule(x, y, _WIDTH - _RIGHT, y)
        yield _text(x - 5, y + 4, f"{10.0**power:g}", anchor="end")
    for share, label in _NINES.items():
        x, y = place(share, 10.0**low)
        yield _rule(x, y, x, _TOP)
        yield _text(x, y + 16, label, anchor="middle")
    for n, (server, points) in enumerate(lines.items()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        width = 2.5 if server == "ours" else 1.2
        yield (
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[server]}"'
            f' stroke-width="{width}"/>'
        )
        yield _text(_LEFT + 8, _TOP + 12 + 13 * n, PEERS[server], colour=_COLOURS[server])


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{_GRID}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = _TEXT,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(text)}</text>'
    )
