"""Definitions change under load on two hosts, and no write is accepted against one in force."""

from pathlib import Path

from bench.bench_definitions import measure
from service.embedded import EmbeddedStack, Stack


def test_changes_under_load(stack: EmbeddedStack, tmp_path: Path) -> None:
    seen = measure(Stack(stack.shards, stack.redis_url), tmp_path, changes=12)
    assert seen.failed == []
    assert seen.wrong_writes == []
    assert len(seen.answered) == 12
    # The load was there: writes of both kinds, and reads.
    assert min(seen.accepted, seen.refused, seen.reads) > 0
