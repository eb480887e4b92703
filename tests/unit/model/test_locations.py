"""An error names what is wrong with a request, but not without end."""

import pytest

from service.model.errors import InvalidContent, Place
from service.model.places import MAX_PLACES, Places


def test_the_first_findings_are_kept() -> None:
    wrong, full = Places(), []
    for n in range(MAX_PLACES):
        full.append(wrong.full)
        wrong.add(Place("is missing", pointer=f"/{n}"))
    assert [*full, wrong.full] == [False] * MAX_PLACES + [True]
    wrong.add(Place("is one too many", pointer="/one"))
    with pytest.raises(InvalidContent) as raised:
        wrong.raise_any(InvalidContent, "The body cannot be used.")
    assert [place.pointer for place in raised.value.places] == [f"/{n}" for n in range(MAX_PLACES)]


def test_nothing_found_raises_nothing() -> None:
    Places().raise_any(InvalidContent, "The body cannot be used.")
