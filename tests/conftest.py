"""Fixtures that every part of the suite may ask for by name."""

pytest_plugins = [
    "tests.fixtures.printed",
    "tests.fixtures.stack",
    "tests.fixtures.running",
    "tests.fixtures.bulk",
    "tests.fixtures.databases",
    "tests.fixtures.lists",
    "tests.fixtures.scene",
]
