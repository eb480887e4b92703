"""What each level of each coding makes of real bodies: ``python -m bench.bench_codings``.

Bodies are items of the catalog as GET answers them, and arrays of items for larger ones, in
classes by size. Figures go to bench/results/codings.json: the size of the coded bodies against
the plain ones, and the least time of several rounds for one body.
"""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import describe
from service import native
from service.api.headers.content_codings import LEVELS, WORTHWHILE_BYTES
from service.model.item import Item
from service.model.item_json import render
from tests.fixtures.catalog import catalog_lines

RESULTS = Path(__file__).parent / "results" / "codings.json"
_LEVELS = {
    "zstd": (1, 3, 6, 9, 12, 15, 19),
    "gzip": (1, 3, 6, 9, 12),
    "br": (0, 1, 2, 3, 4, 5, 6, 9, 11),
}
# From, to (bytes of a body), and how many items are in one; 1: as they are.
_CLASSES = (
    (300, 512, 1),
    (512, 1024, 1),
    (1024, 4096, 1),
    (8_000, 14_000, 20),
    (80_000, 140_000, 200),
)
_BODIES, _ROUNDS = 60, 5
_MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def main() -> None:
    texts = catalog_lines()
    machine = describe()
    figures = [_measured(_bodies(texts, *of), *of) for of in _CLASSES]
    result = {"machine": machine, "classes": figures}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """Of each level the coded size ÷ the plain one and the time for a body, by size of body."""
    classes = [one for one in result["classes"] if one["mean_bytes"] >= WORTHWHILE_BYTES]
    heads = [f"{one['mean_bytes'] / 1000:.1f} kB" for one in classes]
    lines = [["coding", "level", *heads], ["---"] * (2 + len(heads))]
    for row in zip(*(one["levels"] for one in classes), strict=True):
        coding, level = row[0]["coding"], row[0]["level"]
        chosen = "**" if LEVELS[coding] == level else ""
        cells = (f"{chosen}{cell['ratio']:.3f}, {cell['us']:,.0f} µs{chosen}" for cell in row)
        lines.append([coding, str(level), *cells])
    where = result["machine"]
    return (
        f"Measured at revision {where['revision']} on {where['processor']}, {where['cores']} cores,"
        f" load average before the run {where['load_before']}.\n\n"
        + "\n".join(f"| {' | '.join(line)} |" for line in lines)
    )


def _bodies(texts: Sequence[bytes], least: int, most: int, items: int) -> list[bytes]:
    """Spread over the whole catalog."""
    bodies = []
    for number, some in enumerate(_groups(texts, items)):
        data = some[0] if items == 1 else b'{"items":[%b]}' % b",".join(some)
        body = render(Item(number.to_bytes(16), "alice", 1, _MOMENT, _MOMENT, data))
        if least <= len(body) < most:
            bodies.append(body)
    step = max(1, len(bodies) // _BODIES)
    return bodies[::step][:_BODIES]


def _groups(texts: Sequence[bytes], items: int) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(texts) - items + 1, items):
        yield texts[at : at + items]


def _measured(bodies: Sequence[bytes], least: int, most: int, items: int) -> dict[str, object]:
    plain = sum(map(len, bodies))
    rows = []
    for coding, levels in _LEVELS.items():
        for level in levels:
            coded = sum(len(native.compress(body, coding, level)) for body in bodies)
            rows.append(
                {
                    "coding": coding,
                    "level": level,
                    "ratio": round(coded / plain, 4),
                    "us": round(_best_s(bodies, coding, level) / len(bodies) * 1e6, 1),
                }
            )
    return {
        "from_bytes": least,
        "to_bytes": most,
        "items": items,
        "bodies": len(bodies),
        "mean_bytes": round(plain / len(bodies)),
        "levels": rows,
    }


def _best_s(bodies: Sequence[bytes], coding: str, level: int) -> float:
    """CPU time of this thread for all bodies, in the best round."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for body in bodies:
            native.compress(body, coding, level)
        rounds.append(time.thread_time() - began)
    return min(rounds)


if __name__ == "__main__":
    main()
