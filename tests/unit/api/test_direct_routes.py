"""The short way to items leads where Robyn's routes lead, through the same gate, or nowhere."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from service.api.gate import Gate
from service.api.request import Reply, RequestContext
from service.api.routes import ROUTES, Api, Direct

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class _Endpoint:
    """Answers with its own name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> "_Endpoint":
        return _Endpoint(f"{self._name}.{name}")

    async def __call__(self, _: RequestContext) -> Reply:
        return Reply(200, [], self._name.encode())


API: Any = Mock(**{name: _Endpoint(name) for name in Api.__slots__})


def _context(method: str, path: str) -> RequestContext:
    return RequestContext(method, "http", path, "", {}, "127.0.0.1", "r", 0.0, AsyncMock())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_short_way_leads_where_the_route_leads(route: Any) -> None:
    asyncio.run(_compare(route))


async def _compare(route: Any) -> None:
    context = _context(route.method, route.path.replace(":id", ID))
    gate = AsyncMock(spec=Gate)
    endpoint = Direct(API, gate)(context)
    is_write = "change_item" in (await route.endpoint(API)(context)).body.decode()
    assert (endpoint is not None) == (is_write or route.operation.id == "getItem")
    if endpoint is not None:
        assert await endpoint(context) == await route.endpoint(API)(context)
        assert context.path_params.get("id") == (ID if ":id" in route.path else None)
        assert gate.enter.await_count == is_write


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("OPTIONS", f"/v1/items/{ID}"),
        ("POST", f"/v1/items/{ID}"),
        ("PUT", "/v1/items"),
        ("GET", f"/v3/items/{ID}"),
        ("PUT", f"/v1/items/{ID}/more"),
        ("POST", "/v1/items:batch"),
        ("GET", "/v1/items/search"),
        ("GET", f"/v1/items/{ID}X"),
    ],
)
def test_what_is_no_route_of_items_is_left_to_robyn(method: str, path: str) -> None:
    assert Direct(API, AsyncMock(spec=Gate))(_context(method, path)) is None
