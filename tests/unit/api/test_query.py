import pytest

from service.api.query import MAX_PARAMETERS, parameters
from service.model.errors import InvalidParameter

ALLOWED = ("name", "café")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {}),
        ("&&", {}),
        ("name=caf%C3%A9%20x%2By", {"name": "café x+y"}),
        ("name=a+b", {"name": "a b"}),
        ("name=%2525", {"name": "%25"}),
        ("n%61me=1", {"name": "1"}),
        ("caf%C3%A9=1&name=", {"café": "1", "name": ""}),
        ("name", {"name": ""}),
        ("name=a=b", {"name": "a=b"}),
    ],
)
def test_it_is_decoded_exactly_once(query: str, found: dict[str, str]) -> None:
    assert parameters(query, ALLOWED) == found


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("name=%ZZ", "name"),
        ("name=%", "name"),
        ("name=%C3%28", "name"),
        ("name=%00", "name"),
        ("%00=1", "%00"),
        ("other=1", "other"),
        ("name=1&name=1", "name"),
        ("name=1&n%61me=2", "name"),
    ],
)
def test_what_cannot_be_used_is_named(query: str, named: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parameters(query, ALLOWED)
    assert refused.value.locations[0].parameter == named


def test_up_to_twenty_locations_are_reported() -> None:
    with pytest.raises(InvalidParameter) as refused:
        parameters("x=1&name=1&name=2&caf%C3%A9=%00", ALLOWED)
    assert [location.parameter for location in refused.value.locations] == ["x", "name", "café"]
    with pytest.raises(InvalidParameter) as refused:
        parameters("x&" * 60, ALLOWED)
    assert len(refused.value.locations) == 20


def test_parameters_are_counted_before_they_are_decoded() -> None:
    assert len(parameters("&".join(f"x{n}=1" for n in range(MAX_PARAMETERS)), (), "x")) == 64
    with pytest.raises(InvalidParameter, match="too many parameters"):
        parameters("x=1" + "&%" * MAX_PARAMETERS, ALLOWED)
