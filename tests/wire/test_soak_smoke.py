"""A few seconds of `make soak`: mixed load without a wrong answer, and memory of every worker."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.soak import soak
from loadtest.verdict import troubles
from service.embedded import EmbeddedStack
from tests.fixtures.stack import short_directory

SECONDS, WORKERS = 6, 2


@pytest.fixture
def folder() -> Iterator[Path]:
    directory = short_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def test_mixed_load_is_answered_right_and_everything_is_watched(
    stack: EmbeddedStack, folder: Path
) -> None:
    result = soak(stack, folder, SECONDS, users=10, workers=WORKERS)
    assert troubles(result) == []
    assert result["failures"] == 0
    assert result["checked_operations"] > 0
    assert result["cpu_share"] > 0
    for name in ("GET v1", "GET v2", "GET own", "GET list", "POST again", "POST batch again"):
        assert any(row.startswith(name) for row in result["by_name"]), (name, result["by_name"])
    assert len(result["workers"]) == WORKERS
    for worker in result["workers"]:
        assert worker["ratio"] == pytest.approx(worker["last_bytes"] / worker["first_bytes"], 1e-3)
        assert worker["last_descriptors"] >= worker["last_sockets"] > 0
