"""A bar chart of a result as SVG, written here: no plotting package for four kinds of mark."""

import statistics
from collections.abc import Iterator
from html import escape
from typing import Any

from bench.report import PEERS, VARIANTS

_LABEL_WIDTH, _BAR_WIDTH, _ROW, _HEAD = 210, 460, 20, 34
_OURS, _THEIRS, _TEXT = "#c2410c", "#94a3b8", "#1e293b"


def chart(result: dict[str, Any]) -> str:
    """Requests per second, a group for each kind of read and size; bars to one scale a group."""
    marks: list[str] = []
    y = 10
    for title, bars in _groups(result["samples"]):
        y += _HEAD
        marks.append(_text(10, y - 10, title, weight="bold"))
        most = max(rate for _, rate in bars)
        for server, rate in bars:
            marks += _bar(y, server, rate, rate / most)
            y += _ROW
    width, height = _LABEL_WIDTH + _BAR_WIDTH + 90, y + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(marks)
        + "\n</svg>\n"
    )


def _groups(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    rates: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        if row["kind"] == "pair":
            group = rates.setdefault((row["variant"], row["body_bytes"]), {})
            group.setdefault(row["server"], []).append(row["rate"])
    for (variant, size), servers in rates.items():
        bars = [(server, statistics.median(seen)) for server, seen in servers.items()]
        yield f"{VARIANTS[variant]}, {size / 1000:g} kB: requests/s", sorted(bars, key=_by_rate)


def _by_rate(bar: tuple[str, float]) -> float:
    return -bar[1]


def _bar(y: int, server: str, rate: float, share: float) -> list[str]:
    colour = _OURS if server == "ours" else _THEIRS
    length = max(1, round(share * _BAR_WIDTH))
    return [
        _text(_LABEL_WIDTH - 8, y + 14, PEERS[server], anchor="end"),
        f'<rect x="{_LABEL_WIDTH}" y="{y + 2}" width="{length}" height="16" fill="{colour}"/>',
        _text(_LABEL_WIDTH + length + 6, y + 14, f"{rate:,.0f}"),
    ]


def _text(x: int, y: int, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{_TEXT}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
