"""A new filter operator, kind of credential or resource type reaches every table it must."""

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.access.api_keys import ApiKeys
from service.access.credential_kinds import KINDS, CredentialKind
from service.access.credentials import Authenticator
from service.api.describe import openapi
from service.api.describe.schemas import search
from service.api.headers.cors import with_cors
from service.api.list_query import from_body, from_query_string
from service.api.represent.item_reply import VARY
from service.api.request import Reply
from service.api.routes import documented
from service.items.filters import check_allowed
from service.model.errors import InvalidHeader, Location
from service.model.query import OPERATORS, Condition, Query
from service.model.query import Path as AttributePath
from service.model.resource import ITEMS
from service.settings import Cors, Settings
from tests.fixtures.tokens import verifier

ROOT = Path(__file__).parents[2]
NAME: AttributePath = ("name",)


def _value(operator: str) -> str:
    return "true" if operator == "exists" else '"a"'


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_is_read_from_both_kinds_of_lists(operator: str) -> None:
    listed = from_query_string(f"filter[name][{operator}]={_value(operator)}", 1)
    value = {"exists": "true", "in": '["a"]', "nin": '["a"]'}.get(operator, '"a"')
    searched = from_body(f'{{"filter":{{"name":{{"{operator}":{value}}}}}}}'.encode())
    for found in (listed, searched):
        [one] = found.query.conditions
        assert (one.path, one.operator, one.values) == (NAME, operator, (_value(operator),))


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_is_allowed_beside_an_indexed_one(operator: str) -> None:
    equal = Condition(NAME, "eq", ('"a"',), Location(""))
    one = Condition(NAME, operator, (_value(operator),), Location(""))
    check_allowed(Query((equal, one)), frozenset({NAME}), Location(""))


def test_every_operator_is_documented() -> None:
    schema = search([])["properties"]["filter"]["additionalProperties"]["anyOf"]
    assert set(schema[1]["properties"]) == set(OPERATORS)
    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs/lists.md").read_text(), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert not set(OPERATORS) - documented


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.header)
def test_a_kind_of_credential_is_known_to_caches_browsers_and_clients(
    kind: CredentialKind,
) -> None:
    assert kind.header in VARY.split(", ")
    preflight = with_cors(
        Cors(allowed_origins=("*",)),
        "OPTIONS",
        {"origin": ["http://page.example"], "access-control-request-method": ["GET"]},
        Reply(204, []),
    )
    allowed = dict(preflight.headers)["access-control-allow-headers"].split(", ")
    assert kind.header.lower() in allowed
    document = openapi.build(documented(), Settings())
    assert set(kind.schemes) <= set(document["components"]["securitySchemes"])
    assert kind.header in (ROOT / "docs/access.md").read_text()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.header)
def test_a_kind_of_credential_is_read_and_only_once(kind: CredentialKind) -> None:
    async def find(_: bytes) -> None:
        raise AssertionError

    authenticator = Authenticator(verifier(("ES256", "k")), ApiKeys(find, 30))
    with pytest.raises(InvalidHeader) as refused:
        asyncio.run(authenticator.authenticate({kind.header.lower(): ["one", "two"]}))
    assert refused.value.locations[0].header == kind.header


def test_openapi_has_no_other_kinds_of_credentials() -> None:
    document = openapi.build(documented(), Settings())
    known = {scheme for kind in KINDS for scheme in kind.schemes}
    assert set(document["components"]["securitySchemes"]) == known
    secured = [
        operation["security"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if operation["security"]
    ]
    assert secured
    assert all({name for one in each for name in one} == known for each in secured)


# URLs and scopes as literals, in strings that the program uses.
_SPELLED = re.compile(rf"/{ITEMS.name}\b|\b{ITEMS.name}:[a-z]")
SPELLED_FOR_A_REASON = {
    "service/model/resource.py": "the resource itself",
    "service/observe/metrics.py": "the text of docs/metrics.md",
}


def _strings(path: Path) -> Iterator[str]:
    """The string constants of a file, parts of f-strings too, docstrings apart."""
    tree = ast.parse(path.read_text())
    statements = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in statements:
            yield node.value if isinstance(node.value, str) else repr(node.value)


def test_only_the_resource_spells_its_urls_and_scopes() -> None:
    spelled = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "service").rglob("*.py")
        if any(_SPELLED.search(text) for text in _strings(path))
    }
    assert spelled <= set(SPELLED_FOR_A_REASON)
