"""The Robyn app: every route in one place, and what runs before them.

Robyn and the empty app are given in, since making them has side effects that only
``http.robyn_bridge`` knows how to avoid.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from service.api.change_item import ChangeItem
from service.api.gate import Gate
from service.api.get_item import GetItem
from service.api.health import Health
from service.api.list_items import ListItems
from service.api.oauth2 import OAuth2
from service.api.query import parameters
from service.api.request import Reply, RequestContext

Endpoint = Callable[[RequestContext], Awaitable[Reply]]

PROBES = ("/livez", "/readyz")
# Anybody may ask for these, and for whatever is below /.well-known/ (RFC 8615).
OPEN_PATHS = ("/oauth2/token", "/openapi.json", "/docs")


@dataclass(frozen=True, slots=True)
class Api:
    """What the routes lead to."""

    get_item: GetItem
    change_item: ChangeItem
    list_items: ListItems
    health: Health
    oauth2: OAuth2


def add_routes(app: Any, robyn: Any, api: Api, gate: Gate) -> None:
    """Put all routes into a ``robyn.Robyn``; who runs it puts a RequestContext in ``session``."""

    @app.before_request()  # type: ignore[untyped-decorator]
    async def know_the_caller(request: Any) -> Any:
        context: RequestContext = request.session
        if context.path in PROBES or context.method == "OPTIONS":
            # Probes must get through, and a browser's preflight never carries credentials.
            return request
        if context.path in OPEN_PATHS or context.path.startswith("/.well-known/"):
            await gate.enter_unknown(context)
        else:
            await gate.enter(context)
        return request

    for method, path, endpoint in _table(api):
        app.add_route(method, path, _robyn_endpoint(robyn, endpoint))


def _table(api: Api) -> list[tuple[str, str, Endpoint]]:
    items: list[tuple[str, str, Endpoint]] = []
    for prefix in ("", "/v1", "/v2"):
        items += [
            ("GET", f"{prefix}/items", api.list_items.get),
            ("POST", f"{prefix}/items/search", api.list_items.search),
            ("POST", f"{prefix}/items", api.change_item.post),
            ("GET", f"{prefix}/items/:id", api.get_item),
            ("PUT", f"{prefix}/items/:id", api.change_item.put),
            ("PATCH", f"{prefix}/items/:id", api.change_item.patch),
            ("DELETE", f"{prefix}/items/:id", api.change_item.delete),
        ]
    others: list[tuple[str, str, Endpoint]] = [
        ("GET", "/livez", api.health.livez),
        ("GET", "/readyz", api.health.readyz),
        ("POST", "/oauth2/token", api.oauth2.token),
        ("GET", "/.well-known/jwks.json", api.oauth2.jwks),
        ("GET", "/.well-known/oauth-authorization-server", api.oauth2.authorization_server),
        ("GET", "/.well-known/oauth-protected-resource", api.oauth2.protected_resource),
    ]
    return items + [(method, path, _without_query(endpoint)) for method, path, endpoint in others]


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
