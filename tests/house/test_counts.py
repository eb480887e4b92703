"""The counts of ``make counts`` do not get worse: a bound for each, at or near what it is."""

from functools import cache

from tests.house.counts import Counts, count

_counts = cache(count)


def test_files_and_functions_stay_small() -> None:
    counts: Counts = _counts()
    assert counts.file_median <= 120
    assert counts.function_median <= 7
    assert counts.function_p90 <= 18


def test_no_chain_of_imports_is_longer_than_today() -> None:
    assert _counts().import_depth <= 16


def test_every_module_has_a_docstring() -> None:
    assert _counts().undocumented_modules == []


def test_every_function_has_a_return_type() -> None:
    assert _counts().untyped_functions == []


def test_docstrings_name_raised_errors() -> None:
    """Public functions and methods with a ``raise`` of their own name the errors."""
    counts = _counts()
    assert counts.functions_that_raise > 80
    assert counts.silent_about_errors == []


def test_most_numbers_have_a_unit() -> None:
    counts = _counts()
    assert counts.constants_with_a_unit >= 0.75 * counts.constants
