"""What parsed header fields hold at most, against its row of docs/memory.md."""

import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.api.headers import content_codings, media_types
from service.api.headers.content_codings import coding_for
from service.api.headers.media_types import essence_of, negotiate
from service.model.bounds import FIELD_MAX_BYTES

PARSERS: tuple[Callable[[str], object], ...] = (negotiate, coding_for, essence_of)
PAGE = Path(__file__).parents[4] / "docs" / "memory.md"
_ROW = r"([\d,]+) \+ ([\d,]+) \+ ([\d,]+) values of at most 4 kB: (\d+) MiB"


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    yield
    for cached in (media_types._negotiate, media_types._essence, content_codings._coding_for):
        cached.cache_clear()


def test_no_number_of_different_values_exceeds_the_stated_bound() -> None:
    row = re.search(_ROW, PAGE.read_text())
    assert row is not None
    *kept, most_mib = row.groups()
    counts = [int(number.replace(",", "")) for number in kept]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        # More than are kept, each as long as is read at all.
        for parse, count in zip(PARSERS, counts, strict=True):
            for n in range(count + 20):
                start = f"text/{n:07};a="
                parse(start + "b" * (FIELD_MAX_BYTES - len(start)))
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # They are kept, and not only parsed.
    assert sum(counts) * FIELD_MAX_BYTES < held < int(most_mib) << 20
