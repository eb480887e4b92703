import pytest

from service.api.media_types import JSON, V1, check_accept, check_item_body
from service.model.errors import NotAcceptable, UnsupportedMediaType


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ([], JSON),
        ([""], JSON),
        (["*/*"], JSON),
        (["application/*"], JSON),
        (["text/html, application/json"], JSON),
        (["APPLICATION/JSON"], JSON),
        ([V1], V1),
        ([f"{V1};q=0.4, application/json;q=0.3"], V1),
        ([f"{V1};q=0.4", "application/json;q=0.5"], JSON),
        ([f"application/json;q=0, {V1}"], V1),
        (["application/vnd.api.v9+json, */*;q=0.1"], JSON),
        (["application/json;q=0, */*;q=0.5"], V1),
        (["application/json; charset=utf-8"], JSON),
    ],
)
def test_the_best_acceptable_type_is_chosen(accept: list[str], chosen: str) -> None:
    assert check_accept({"accept": accept} if accept else {}) == chosen


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;q=0", "application/vnd.api.v9+json", "*/*;q=0", "nonsense"],
)
def test_what_is_not_offered_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        check_accept({"accept": [accept]})
    assert JSON in str(refused.value.extra["available"])


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        V1,
        "application/json; profile=x",
    ],
)
def test_json_in_utf8_comes_in(value: str) -> None:
    check_item_body({"content-type": [value]})


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["text/plain"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=x"],
        ["application/json; charset=iso-8859-1"],
        ["application/json", "application/json"],
        ["application/vnd.api.v9+json"],
    ],
)
def test_other_media_types_are_refused(values: list[str]) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_item_body({"content-type": values})
