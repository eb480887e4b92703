"""Every operator of a filter has SQL of its own; one that has none is an error."""

from dataclasses import replace

import pytest

from service.model.errors import Location
from service.model.query import CREATED_AT, OPERATORS, OWNER_ID, Condition, Path
from service.store.conditions import Parameters, condition

DECLARED: Path = ("size",)


def _sql(one: Condition) -> str:
    """The text with the values of its placeholders."""
    parameters = Parameters()
    text = condition(one, frozenset({DECLARED}), parameters).as_string(None)
    return f"{text} {parameters.values}"


@pytest.mark.parametrize(
    ("path", "value"), [(OWNER_ID, "ann"), (DECLARED, '"x"'), (("colour",), '"x"')]
)
def test_no_two_operators_have_the_same_sql(path: Path, value: str) -> None:
    one = Condition(path, "eq", (value,), Location(""))
    written = {_sql(replace(one, operator=operator)) for operator in OPERATORS}
    assert len(written) == len(OPERATORS)


@pytest.mark.parametrize("path", [OWNER_ID, CREATED_AT, DECLARED, ("colour",)])
def test_an_operator_without_sql_is_an_error(path: Path) -> None:
    with pytest.raises(ValueError, match="like"):
        _sql(Condition(path, "like", ('"x"',), Location("")))
