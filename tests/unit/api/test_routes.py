"""Every route: its endpoint, who is let in to it, and the scope it takes."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from service.api.gate import Gate
from service.api.request import Reply, RequestContext
from service.api.routes import ROUTES, Route, Router, endpoints
from service.items.collections import Collections
from service.model.caller import Caller
from service.model.collection import items_collection
from service.model.errors import HotshelfError, InsufficientScope, MethodNotAllowed, NoSuchRoute

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
ALL = frozenset({"items:admin"})
OPEN = {"token", "openapi", "docs", "docsAsset", "jwks", "authorizationServer", "protectedResource"}


COLLECTIONS = Collections(items_collection(), [])


async def _body() -> bytes:
    raise AssertionError("no body is read before credentials, limit and scope are")


def _context(method: str, path: str) -> RequestContext:
    return RequestContext(method, "http", path, "", {}, "127.0.0.1", "r", _body)


class _World:
    """A router whose endpoints answer with their operation's id, and a gate that counts calls."""

    def __init__(self, caller: Caller | None = None, local: bool = False) -> None:
        self.gate = AsyncMock(spec=Gate)
        self.gate.is_local = Mock(return_value=local)

        async def enter(context: RequestContext) -> None:
            context.caller = caller or Caller("alice", ALL)

        self.gate.enter.side_effect = enter
        operations = {route.operation.id for route in ROUTES}
        self.router = Router(
            self.gate, COLLECTIONS, {name: self._endpoint(name) for name in operations}
        )

    def _endpoint(self, name: str) -> Any:
        async def endpoint(_: RequestContext) -> Reply:
            return Reply(200, [], name.encode())

        return endpoint

    def ask(self, method: str, path: str) -> Reply:
        return asyncio.run(self.router(_context(method, path)))

    @property
    def asked(self) -> tuple[int, int]:
        """How often the gate was called for a caller, and for an address only."""
        return self.gate.enter.await_count, self.gate.enter_unknown.await_count


def _path(route: Route) -> str:
    return route.path.replace(":id", ID).replace(":asset", "start.js")


every_route = pytest.mark.parametrize(
    "route", ROUTES, ids=lambda route: f"{route.method} {route.path}"
)


@every_route
def test_a_route_leads_to_its_operation_through_the_gate(route: Route) -> None:
    world = _World()
    assert world.ask(route.method, _path(route)).body.decode() == route.operation.id
    is_probe = route.operation.id in ("livez", "readyz")
    assert world.asked == (0, 0) if is_probe else world.asked in ((1, 0), (0, 1))
    assert (world.asked[1] == 1) == (route.operation.id in OPEN)


@every_route
def test_scopes_are_checked_before_anything_is_read(route: Route) -> None:
    world = _World(Caller("alice", frozenset({"other"})))
    if not route.operation.scope:
        assert world.ask(route.method, _path(route)).status == 200
        return
    with pytest.raises(InsufficientScope):
        world.ask(route.method, _path(route))


@pytest.mark.parametrize("scope", ["items:read", "items:write", "items:admin"])
def test_a_batch_takes_any_scope_of_items(scope: str) -> None:
    world = _World(Caller("alice", frozenset({scope})))
    assert world.ask("POST", "/v1/items:batch").status == 200


def test_metrics_are_open_to_this_machine_alone() -> None:
    here, elsewhere = _World(local=True), _World()
    here.ask("GET", "/metrics")
    elsewhere.ask("GET", "/metrics")
    assert (here.asked, elsewhere.asked) == ((0, 0), (1, 0))


@pytest.mark.parametrize(
    ("method", "path", "error", "asked"),
    [
        ("GET", "/nowhere", NoSuchRoute, (1, 0)),
        ("PUT", "/v1/items", MethodNotAllowed, (1, 0)),
        ("GET", "/v1/items/search", MethodNotAllowed, (1, 0)),
        ("GET", f"/v3/items/{ID}", NoSuchRoute, (1, 0)),
        ("PUT", f"/v1/items/{ID}/more", NoSuchRoute, (1, 0)),
        ("GET", "/docs/a/b", NoSuchRoute, (0, 1)),
        ("POST", "/livez", MethodNotAllowed, (0, 0)),
        ("CONNECT", "", MethodNotAllowed, (0, 1)),
        ("OPTIONS", "/nowhere", NoSuchRoute, (0, 0)),
    ],
)
def test_unknown_routes_are_counted_too(
    method: str, path: str, error: type[HotshelfError], asked: tuple[int, int]
) -> None:
    world = _World()
    with pytest.raises(error):
        world.ask(method, path)
    assert world.asked == asked


def test_a_route_of_another_application_is_served_and_none_of_ours_is_replaced() -> None:
    async def hello(context: RequestContext) -> Reply:
        assert context.caller is not None
        return Reply(200, [], context.path_params["name"].encode())

    world = _World()
    ours = dict.fromkeys({route.operation.id for route in ROUTES}, hello)
    context = _context("GET", "/hello/you")
    router = Router(world.gate, COLLECTIONS, ours, [("GET", "/hello/:name", hello)])
    assert asyncio.run(router(context)).body == b"you"
    assert world.asked == (1, 0)
    with pytest.raises(ValueError, match="twice"):
        Router(world.gate, COLLECTIONS, ours, [("GET", "/v1/items", AsyncMock())])


def test_every_operation_has_an_endpoint_of_its_own() -> None:
    parts: list[Any] = [Mock(name=str(number)) for number in range(10)]
    found = endpoints(*parts)
    assert set(found) == {route.operation.id for route in ROUTES}
    assert len(set(map(id, found.values()))) == len(found)
