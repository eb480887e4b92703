"""Every figure of the README and of docs/performance.md comes from a file of bench/results."""

import re

import pytest

from bench.report import PAGE, README, SECTIONS, Section

_SECTION = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", re.DOTALL)
# A decimal, or a number with a unit of measurement.
_FIGURE = re.compile(r"\b\d+\.\d+\b|\b\d[\d,]*(?= ?(?:µs|ms|MiB|GiB|/s|requests/s|times)\b)")
# What is set and not measured.
_SET = (
    "0.3, 2 and 20 kB",
    "0.8 kB",
    "a ratio of at most 1.05",
)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s.name)
def test_a_section_is_what_its_result_file_says(section: Section) -> None:
    """`make bench-report` writes it."""
    page = section.page.read_text()
    assert f"<!-- {section.name} -->\n" in page
    assert section.written(page) == page


def test_no_figure_of_the_performance_page_is_written_by_hand() -> None:
    text = _SECTION.sub("", PAGE.read_text())
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    for words in _SET:
        assert words in text
        text = text.replace(words, "")
    assert _FIGURE.findall(text) == []


def test_the_readme_says_how_fast_it_is_in_its_section_only() -> None:
    text = README.read_text()
    assert _SECTION.search(text)
    assert "How fast" not in _SECTION.sub("", text)
    assert not re.search(r"\d+(\.\d+)? times|requests/s|\d ms\b|µs", _SECTION.sub("", text))


def test_a_figure_is_recognised() -> None:
    assert _FIGURE.findall("took 0.21 µs, 11 ms, 1,200 requests/s, 5 s, version 3, 3 times") == [
        "0.21",
        "11",
        "1,200",
        "3",
    ]
