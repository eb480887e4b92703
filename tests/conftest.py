"""Fixtures that every part of the suite may ask for by name, and what holds for all tests."""

import random

import hypothesis

# A slow machine is no fault of the code: what may take how long is not for a test to say.
hypothesis.settings.register_profile("hotshelf", deadline=None)
hypothesis.settings.load_profile("hotshelf")

pytest_plugins = [
    "tests.fixtures.printed",
    "tests.fixtures.stack",
    "tests.fixtures.running",
    "tests.fixtures.chromium",
    "tests.fixtures.bulk",
    "tests.fixtures.databases",
    "tests.fixtures.lists",
    "tests.fixtures.scene",
    "tests.fixtures.collections",
]


def pytest_collection_finish() -> None:
    """Or all workers would look for free ports in the order of one and the same seed."""
    random.seed()
