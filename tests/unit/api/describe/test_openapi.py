"""The OpenAPI document says all that the tables behind it say."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.api.describe import openapi
from service.api.describe.operations import Operation
from service.api.represent.problem import TABLE
from service.api.routes import ROUTES, documented
from service.model import errors
from service.model.collection import Collection, Definition, Read
from service.model.resource import Resource
from service.settings import Http, Settings, Writes

DOCUMENT = openapi.build(documented(), Settings())
# What no operation can end with: another path or method, and Granian's own refusals.
ELSEWHERE = {errors.MethodNotAllowed}


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).validate()


def test_collections_have_paths_filters_and_schemas_of_their_own() -> None:
    schema = {"type": "object", "$defs": {"n": {"type": "number"}}, "required": ["price"]}
    products = Definition(schema, (("price",),), Read.PUBLIC, description="What is sold")
    collections = [
        Collection(1, Resource("orders"), 1, Definition()),
        Collection(2, Resource("products"), 2, products),
    ]
    document = openapi.build(documented(), Settings(), collections)
    OpenAPIV31SpecValidator(json.loads(json.dumps(document))).validate()
    for path, methods in DOCUMENT["paths"].items():
        if "/items" in path:
            assert document["paths"][path.replace("items", "products")].keys() == methods.keys()
    listed = document["paths"]["/v2/products"]["get"]
    [sort] = [each for each in listed["parameters"] if each.get("name") == "sort"]
    assert sort["schema"]["enum"][-2:] == ["price", "-price"]
    assert any(each.get("name") == "fields[products]" for each in listed["parameters"])
    assert listed["security"][-1] == {}
    oauth2 = [one["oauth2"] for one in listed["security"] if "oauth2" in one]
    assert oauth2 == [["products:read"]]
    assert document["components"]["schemas"]["Data-products"]["required"] == ["price"]
    sent = document["paths"]["/v2/products"]["post"]["requestBody"]["content"]["application/json"]
    resource = sent["schema"]["properties"]["data"]["properties"]
    assert resource["type"] == {"const": "products"}
    assert {"name": "products", "description": "What is sold"} in document["tags"]
    ids = [o["operationId"] for methods in document["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids))


def test_references_lead_somewhere() -> None:
    document = openapi.build(
        documented(), Settings(), [Collection(1, Resource("orders"), 1, Definition())]
    )

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for member in value.values():
                yield from references(member)
        elif isinstance(value, list):
            for member in value:
                yield from references(member)

    for reference in set(references(document)):
        found: Any = document
        for token in unquote(reference.removeprefix("#/")).split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]


def test_every_further_collection_is_counted_and_not_shown() -> None:
    many = [
        Collection(n, Resource(f"c{n:03}"), n, Definition())
        for n in range(1, openapi.COLLECTIONS_MAX + 11)
    ]
    document = openapi.build(documented(), Settings(), many)
    assert "/v1/c100" in document["paths"]
    assert "/v1/c101" not in document["paths"]
    assert "100 of 110 collections besides items are shown" in document["info"]["description"]
    per_collection = (len(json.dumps(document)) - len(json.dumps(DOCUMENT))) / 100
    assert per_collection < 40_000, per_collection


def test_every_route_is_in_it() -> None:
    known = {(path, method) for path, method, _ in _operations()}
    for route in ROUTES:
        path = "/".join(f"{{{s[1:]}}}" if s[:1] == ":" else s for s in route.path.split("/"))
        # Batches have no version 2; a path without a version is another name of version 1's.
        versions = ("/v1",) if path.endswith(":batch") else ("/v1", "/v2")
        if path.startswith("/v"):
            versions = ("",)
        for version in versions if "/items" in path else ("",):
            assert (version + path, route.method.lower()) in known


@pytest.mark.parametrize("error", list(TABLE), ids=lambda e: e.code)
def test_every_error_is_in_it(error: type[errors.HotshelfError]) -> None:
    told = {
        status
        for _, _, operation in _operations()
        for status, response in operation["responses"].items()
        if f"`{error.code}`" in response["description"]
    }
    assert told == (set() if error in ELSEWHERE else {str(TABLE[error].status)})


def test_every_header_and_schema_in_it_is_used() -> None:
    text = json.dumps(DOCUMENT)
    for kind in ("headers", "schemas"):
        for name in DOCUMENT["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name


def test_operations_have_ids_of_their_own() -> None:
    ids = [operation["operationId"] for _, _, operation in _operations()]
    assert len(ids) == len(set(ids))


def test_unknown_names_are_errors() -> None:
    odd = Operation("x", "x", (), parameters=("no-such-parameter",))
    with pytest.raises(KeyError):
        openapi.build([openapi.Documented("GET", "/v1/x", odd)], Settings())


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _schemas(inner)


def test_generators_can_read_it() -> None:
    """Several end, or make code that cannot be imported, where a schema has one of these."""
    for schema in _schemas(DOCUMENT):
        kind = schema.get("type")
        if kind == "array" or (isinstance(kind, list) and "array" in kind):
            assert "items" in schema, schema
        assert not isinstance(schema.get("const"), bool), schema


@pytest.mark.parametrize("required", [True, False])
def test_preconditions_are_required_as_by_the_service(required: bool) -> None:
    settings = Settings(writes=Writes(require_if_match=required))
    paths = openapi.build(documented(), settings)["paths"]
    for path, method, asked in [
        ("/v1/items/{id}", "patch", required),
        ("/v2/items/{id}", "patch", required),
        # If-None-Match may be sent instead.
        ("/v1/items/{id}", "put", False),
        ("/v1/items/{id}", "delete", False),
    ]:
        (found,) = (p for p in paths[path][method]["parameters"] if p["name"] == "If-Match")
        assert found["required"] == asked
        assert re.fullmatch(found["schema"]["pattern"], '"7-5d41402a-br", W/"x"')
        for wrong in ("0", "", '"', "a", '"a" "b"'):
            assert not re.fullmatch(found["schema"]["pattern"], wrong)


def test_the_server_is_where_clients_reach_it() -> None:
    settings = Settings(http=Http(public_url="https://api.example.com"))
    document = openapi.build(documented(), settings)
    assert document["servers"] == [{"url": "https://api.example.com"}]


def test_the_command_prints_it() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "service.cli", "openapi"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(printed.stdout) == json.loads(json.dumps(DOCUMENT))
