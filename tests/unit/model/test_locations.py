"""An error names what is wrong with a request, but not without end."""

import pytest

from service.model.errors import InvalidContent, Location
from service.model.locations import MAX_LOCATIONS, Locations


def test_the_first_findings_are_kept() -> None:
    wrong, full = Locations(), []
    for n in range(MAX_LOCATIONS):
        full.append(wrong.full)
        wrong.add(Location("is missing", pointer=f"/{n}"))
    assert [*full, wrong.full] == [False] * MAX_LOCATIONS + [True]
    wrong.add(Location("is one too many", pointer="/one"))
    with pytest.raises(InvalidContent) as raised:
        wrong.raise_any(InvalidContent, "The body cannot be used.")
    assert [location.pointer for location in raised.value.locations] == [
        f"/{n}" for n in range(MAX_LOCATIONS)
    ]


def test_nothing_found_raises_nothing() -> None:
    Locations().raise_any(InvalidContent, "The body cannot be used.")
