"""Deprecation (RFC 9745 section 2.1) and Sunset (RFC 8594 section 3) by setting."""

import pytest

from service.api.headers.deprecation import deprecation_fields, is_about_items
from service.settings import Versions


def test_dates_are_spelled_as_each_standard_does() -> None:
    versions = Versions("2026-01-31T01:00:00+01:00", "2027-07-01")
    assert deprecation_fields(versions) == [
        ("deprecation", "@1769817600"),
        ("sunset", "Thu, 01 Jul 2027 00:00:00 GMT"),
    ]


def test_nothing_is_said_unless_set() -> None:
    assert deprecation_fields(Versions()) == []
    assert deprecation_fields(Versions(v1_sunset_at="2027-07-01"))[0][0] == "sunset"


@pytest.mark.parametrize(("deprecated", "sunset"), [("soon", ""), ("2027-01-02", "2027-01-01")])
def test_contradictory_dates_are_refused(deprecated: str, sunset: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|before"):
        deprecation_fields(Versions(deprecated, sunset))


@pytest.mark.parametrize("path", ["/items", "/v1/items", "/v2/items/x", "/v1/items:batch"])
def test_paths_of_items(path: str) -> None:
    assert is_about_items(path)


@pytest.mark.parametrize("path", ["/", "/livez", "/itemsx", "/v3/items", "/oauth2/token"])
def test_other_paths(path: str) -> None:
    assert not is_about_items(path)
