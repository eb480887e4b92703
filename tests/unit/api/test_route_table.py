"""Which value a method and a path lead to, and what is said where none is there."""

import asyncio
from collections.abc import Mapping

import pytest

from service.api.request import Reply, RequestContext
from service.api.route_table import RoutedEndpoints, RouteTable
from service.model.errors import MethodNotAllowed, NoSuchRoute

PATHS = [
    ("GET", "/items"),
    ("POST", "/items"),
    ("POST", "/items/search"),
    ("POST", "/items:batch"),
    ("GET", "/items/:id"),
    ("PUT", "/items/:id"),
    ("GET", "/both/:one"),
    ("GET", "/both/*many"),
    ("PUT", "/both/*many"),
    ("GET", "/both/:one/last"),
    ("HEAD", "/own-head"),
    ("GET", "/own-head"),
]
TABLE = RouteTable((method, path, f"{method} {path}") for method, path in PATHS)


@pytest.mark.parametrize(
    ("method", "path", "found", "parameters"),
    [
        ("GET", "/items", "GET /items", {}),
        ("HEAD", "/items", "GET /items", {}),
        ("HEAD", "/own-head", "HEAD /own-head", {}),
        ("GET", "/items/a", "GET /items/:id", {"id": "a"}),
        ("HEAD", "/items/a", "GET /items/:id", {"id": "a"}),
        ("PUT", "/items/a\nb", "PUT /items/:id", {"id": "a\nb"}),
        ("POST", "/items/search", "POST /items/search", {}),
        ("POST", "/items:batch", "POST /items:batch", {}),
        ("GET", "/both/a", "GET /both/:one", {"one": "a"}),
        ("PUT", "/both/a", "PUT /both/*many", {"many": "a"}),
        ("GET", "/both/a/b", "GET /both/*many", {"many": "a/b"}),
        ("GET", "/both/a/last", "GET /both/:one/last", {"one": "a"}),
    ],
)
def test_found(method: str, path: str, found: str, parameters: Mapping[str, str]) -> None:
    assert TABLE.find(method, path) == (found, parameters)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/items/search"),
        ("GET", "/items/search"),
        ("DELETE", "/items/a"),
        ("get", "/items"),
        ("GET", "/items/"),
        ("GET", "/items/a/b"),
        ("POST", "/itemsXbatch"),
        ("POST", "/own-head"),
    ],
)
def test_not_found(method: str, path: str) -> None:
    assert TABLE.find(method, path) is None


def test_the_same_route_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="GET /x"):
        RouteTable([("GET", "/x", 1), ("PUT", "/x", 1), ("GET", "/x", 2)])


def _answer(method: str, path: str) -> Reply:
    async def endpoint(context: RequestContext) -> Reply:
        return Reply(200, list(context.path_params.items()))

    async def no_body() -> bytes:
        return b""

    context = RequestContext(method, "http", path, "", {}, "127.0.0.1", "r", no_body)
    return asyncio.run(RoutedEndpoints((m, p, endpoint) for m, p in PATHS)(context))


def test_the_endpoint_finds_the_parameters_of_its_path() -> None:
    assert _answer("GET", "/items/a") == Reply(200, [("id", "a")])


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/items", "GET, HEAD, OPTIONS, POST"),
        ("/items/a", "GET, HEAD, OPTIONS, PUT"),
        ("/items/search", "OPTIONS, POST"),
    ],
)
def test_allowed_methods(path: str, allow: str) -> None:
    assert _answer("OPTIONS", path) == Reply(204, [("allow", allow)])
    for method in ("DELETE", "CONNECT1", "get"):
        with pytest.raises(MethodNotAllowed) as refused:
            _answer(method, path)
        assert refused.value.extra == {"allow": allow}


@pytest.mark.parametrize("path", ["*", "/items", "", "shop:443"])
def test_connect_is_allowed_nowhere(path: str) -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        _answer("CONNECT", path)
    assert refused.value.extra == {"allow": "GET, HEAD, OPTIONS, POST, PUT"}


def test_options_of_everything() -> None:
    assert _answer("OPTIONS", "*").headers == [("allow", "GET, HEAD, OPTIONS, POST, PUT")]


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_nothing_is_there(method: str) -> None:
    with pytest.raises(NoSuchRoute):
        _answer(method, "/nowhere")
