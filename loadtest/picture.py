"""Rates and percentiles over time as a PNG, of locust's history."""

import csv
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from loadtest.rows import LIMITED

PERCENTILES = ("50%", "95%", "99%", "99.9%")
_WIDTH_IN, _HEIGHT_IN, _DPI = 10, 7, 110


def draw(history: Path, picture: Path) -> None:
    """``history`` is locust's NAME_stats_history.csv, with the full history."""
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    everything = [row for row in rows if row["Name"] == "Aggregated"]
    limited: dict[int, float] = {}
    for row in rows:
        if row["Name"] == LIMITED:  # one for each method
            at = int(row["Timestamp"])
            limited[at] = limited.get(at, 0.0) + float(row["Requests/s"])
    start = min((int(row["Timestamp"]) for row in everything), default=0)
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")
    rates, latencies = figure.subplots(2, 1, sharex=True)
    for name in ("Requests/s", "Failures/s"):
        times = _minutes(everything, start)
        rates.plot(times, [float(row[name]) for row in everything], label=name)
    rates.plot([(at - start) / 60 for at in limited], list(limited.values()), label=LIMITED)
    rates.plot(
        _minutes(everything, start),
        [int(row["User Count"]) for row in everything],
        linestyle=":",
        color="grey",
        label="users",
    )
    for name in PERCENTILES:
        # Locust knows none before the first answers; of zero there is no logarithm.
        known = [row for row in everything if row[name] not in ("N/A", "0")]
        latencies.plot(_minutes(known, start), [float(row[name]) for row in known], label=name)
    latencies.set_yscale("log")
    latencies.set_ylabel("ms, of the last 10 s")
    latencies.set_xlabel("minutes")
    rates.set_ylabel("a second")
    for axes in (rates, latencies):
        axes.legend(loc="upper left", fontsize="small")
        axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=_DPI)


def _minutes(rows: Iterable[dict[str, str]], start: int) -> list[float]:
    return [(int(row["Timestamp"]) - start) / 60 for row in rows]
