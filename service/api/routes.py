"""The Robyn app: every route in one place, and what runs before them.

Robyn and the empty app are given in, since making them has side effects that only
``http.robyn_bridge`` knows how to avoid.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from service.api.batch import Batch
from service.api.change_item import ChangeItem
from service.api.describe import operations
from service.api.describe.docs import Docs
from service.api.describe.openapi import Documented
from service.api.describe.operations import Operation
from service.api.gate import Gate
from service.api.get_item import GetItem
from service.api.list_items import ListItems
from service.api.oauth2 import OAuth2
from service.api.operator.health import Health
from service.api.operator.metrics import Metrics
from service.api.query import parameters
from service.api.request import Reply, RequestContext

Endpoint = Callable[[RequestContext], Awaitable[Reply]]

PROBES = ("/livez", "/readyz")
# From this machine anybody may ask for it, from elsewhere only who has the scope.
METRICS_PATH = "/metrics"
# Anybody may ask for these, and for whatever is below /.well-known/ (RFC 8615)
# and /docs.
OPEN_PATHS = ("/oauth2/token", "/openapi.json", "/docs")
_OPEN_BELOW = ("/.well-known/", "/docs/")
# An id has 26 characters; what else is there (a search, say) is for Robyn's routes to know.
_ITEMS = re.compile(r"(?:/v[12])?/items(?:/([^/]{26}))?")


@dataclass(frozen=True, slots=True)
class Api:
    """What the routes lead to."""

    get_item: GetItem
    change_item: ChangeItem
    list_items: ListItems
    health: Health
    metrics: Metrics
    oauth2: OAuth2
    docs: Docs
    batch: Batch


class Route(NamedTuple):
    """``path`` has its parameters as ``:name``, which is how Robyn spells them."""

    method: str
    path: str
    operation: Operation
    endpoint: Callable[[Api], Endpoint]


def _item_routes(prefix: str) -> list[Route]:
    items, item = f"{prefix}/items", f"{prefix}/items/:id"
    return [
        Route("GET", items, operations.LIST_ITEMS, lambda api: api.list_items.get),
        Route("POST", items, operations.CREATE_ITEM, lambda api: api.change_item.post),
        Route("POST", f"{items}/search", operations.SEARCH_ITEMS, lambda a: a.list_items.search),
        Route("GET", item, operations.GET_ITEM, lambda api: api.get_item),
        Route("PUT", item, operations.PUT_ITEM, lambda api: api.change_item.put),
        Route("PATCH", item, operations.PATCH_ITEM, lambda api: api.change_item.patch),
        Route("DELETE", item, operations.DELETE_ITEM, lambda api: api.change_item.delete),
    ]


_PREFIXES = ("", "/v1", "/v2")
_METADATA = "/.well-known/oauth-"
_OTHERS = [
    Route("GET", "/livez", operations.LIVEZ, lambda api: api.health.livez),
    Route("GET", "/readyz", operations.READYZ, lambda api: api.health.readyz),
    Route("GET", METRICS_PATH, operations.METRICS, lambda api: api.metrics.get),
    Route("GET", "/openapi.json", operations.OPENAPI, lambda api: api.docs.openapi),
    Route("GET", "/docs", operations.DOCS, lambda api: api.docs.page),
    Route("GET", "/docs/:asset", operations.DOCS_ASSET, lambda api: api.docs.asset),
    Route("POST", "/oauth2/token", operations.TOKEN, lambda api: api.oauth2.token),
    Route("GET", "/.well-known/jwks.json", operations.JWKS, lambda api: api.oauth2.jwks),
    Route(
        "GET",
        f"{_METADATA}authorization-server",
        operations.AUTHORIZATION_SERVER,
        lambda api: api.oauth2.authorization_server,
    ),
    Route(
        "GET",
        f"{_METADATA}protected-resource",
        operations.PROTECTED_RESOURCE,
        lambda api: api.oauth2.protected_resource,
    ),
]
_BATCHES = [
    Route("POST", f"{prefix}/items:batch", operations.BATCH, lambda api: api.batch.post)
    for prefix in _PREFIXES
]
ROUTES = [
    *_BATCHES,
    *(route for prefix in _PREFIXES for route in _item_routes(prefix)),
    *_OTHERS,
]


def add_routes(app: Any, robyn: Any, api: Api, gate: Gate) -> None:
    """Put all routes into a ``robyn.Robyn``; who runs it puts a RequestContext in ``session``."""

    @app.before_request()  # type: ignore[untyped-decorator]
    async def know_the_caller(request: Any) -> Any:
        context: RequestContext = request.session
        if context.path in PROBES or context.method == "OPTIONS":
            # Probes must get through, and a browser's preflight never carries credentials.
            return request
        if context.path == METRICS_PATH and gate.is_local(context):
            return request
        if context.path in OPEN_PATHS or context.path.startswith(_OPEN_BELOW):
            await gate.enter_unknown(context)
        else:
            await gate.enter(context)
        return request

    for route in ROUTES:
        endpoint = route.endpoint(api)
        if route in _OTHERS:
            endpoint = _without_query(endpoint)
        app.add_route(route.method, route.path, _robyn_endpoint(robyn, endpoint))


class Direct:
    """The endpoints of single items and of POST, without the way through Robyn.

    That way is 40 µs of a write (docs/decisions/0081-write-cost.md); rules are the same on both.
    """

    def __init__(self, api: Api, gate: Gate) -> None:
        changes = api.change_item
        self._of_all = {"POST": _gated(gate, changes.post)}
        self._of_one: dict[str, Endpoint] = {
            "GET": api.get_item,
            "HEAD": api.get_item,
            "PUT": _gated(gate, changes.put),
            "PATCH": _gated(gate, changes.patch),
            "DELETE": _gated(gate, changes.delete),
        }

    def __call__(self, context: RequestContext) -> Endpoint | None:
        """None where Robyn has to find it. Leaves the id as sent in ``path_params["id"]``."""
        path = _ITEMS.fullmatch(context.path)
        if path is None:
            return None
        if path[1] is None:
            return self._of_all.get(context.method)
        context.path_params = {"id": path[1]}
        return self._of_one.get(context.method)


def _gated(gate: Gate, endpoint: Endpoint) -> Endpoint:
    async def run(context: RequestContext) -> Reply:
        await gate.enter(context)
        return await endpoint(context)

    return run


def documented() -> list[Documented]:
    """All routes, as the OpenAPI document shows them."""
    return [Documented(route.method, route.path, route.operation) for route in ROUTES]


def _without_query(endpoint: Endpoint) -> Endpoint:
    async def run(context: RequestContext) -> Reply:
        parameters(context.query_string, ())
        return await endpoint(context)

    return run


def _robyn_endpoint(robyn: Any, endpoint: Endpoint) -> Callable[..., Awaitable[Any]]:
    async def run(request: Any) -> Any:
        reply = await endpoint(request.session)
        headers = robyn.Headers({})
        for name, value in reply.headers:
            headers.append(name, value)
        return robyn.Response(status_code=reply.status, headers=headers, description=reply.body)

    return run
