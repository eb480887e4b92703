"""A few seconds of `make soak`: mixed load without a wrong answer, and memory of every worker."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.soak import soak
from service.embedded import EmbeddedStack
from tests.fixtures.stack import short_directory

SECONDS, WORKERS = 6, 2


@pytest.fixture
def folder() -> Iterator[Path]:
    directory = short_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def test_mixed_load_is_answered_right_and_memory_is_watched(
    stack: EmbeddedStack, folder: Path
) -> None:
    result = soak(stack, folder, SECONDS, users=4, workers=WORKERS)
    assert result["failures"] == 0, (folder / "locust.json").read_text()
    assert result["requests"] > 0
    assert not result["replaced"]
    assert len(result["workers"]) == WORKERS
    for worker in result["workers"]:
        assert worker["ratio"] == pytest.approx(worker["last_bytes"] / worker["first_bytes"], 1e-3)
