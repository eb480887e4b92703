"""Every route of the service, and the router from a request to its endpoint."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from service.access import scopes
from service.access.credential_kinds import HEADERS
from service.api.batch import Batch
from service.api.change_item import ChangeItem
from service.api.collections import PATH as COLLECTIONS_PATH
from service.api.collections import CollectionsEndpoints
from service.api.describe import collection_operations, operations
from service.api.describe.docs import Docs
from service.api.describe.openapi import Documented
from service.api.describe.operations import Operation
from service.api.gate import Gate
from service.api.get_item import GetItem
from service.api.list_items import ListItems
from service.api.oauth2 import OAuth2
from service.api.operator.health import Health
from service.api.operator.metrics import Metrics
from service.api.operator.status import Status
from service.api.query import parameters
from service.api.request import Reply, RequestContext
from service.api.route_table import Endpoint, RoutedEndpoints
from service.items.collections import Collections
from service.model.errors import Unauthenticated
from service.model.resource import ITEMS, VERSIONS, split

PROBES = ("/livez", "/readyz")
# Open to requests from this machine; others need the scope items:admin.
METRICS_PATH = "/metrics"
STATUS_PATH = "/status"
# Header fields, as requests have them.
_CREDENTIALS = frozenset(map(str.lower, HEADERS))
# Open without credentials, like all paths below /.well-known/ (RFC 8615) and /docs.
OPEN_PATHS = ("/oauth2/token", "/openapi.json", "/docs")
_OPEN_BELOW = ("/.well-known/", "/docs/")


class Route(NamedTuple):
    """``path`` has its parameters as ``:name``."""

    method: str
    path: str
    operation: Operation


def _item_routes(version: int | None) -> list[Route]:
    items, item = ITEMS.path(version), ITEMS.path(version, ":id")
    return [
        Route("GET", items, operations.LIST_ITEMS),
        Route("POST", items, operations.CREATE_ITEM),
        Route("POST", items + ITEMS.SEARCH, operations.SEARCH_ITEMS),
        Route("POST", items + ITEMS.BATCH, operations.BATCH),
        Route("GET", item, operations.GET_ITEM),
        Route("PUT", item, operations.PUT_ITEM),
        Route("PATCH", item, operations.PATCH_ITEM),
        Route("DELETE", item, operations.DELETE_ITEM),
    ]


_METADATA = "/.well-known/oauth-"
_OTHERS = [
    Route("GET", COLLECTIONS_PATH, collection_operations.LIST_COLLECTIONS),
    Route("GET", f"{COLLECTIONS_PATH}/:collection", collection_operations.GET_COLLECTION),
    Route("GET", f"{COLLECTIONS_PATH}/:collection/indexes", collection_operations.GET_INDEXES),
    Route("PUT", f"{COLLECTIONS_PATH}/:collection", collection_operations.PUT_COLLECTION),
    Route("DELETE", f"{COLLECTIONS_PATH}/:collection", collection_operations.DROP_COLLECTION),
    Route("GET", "/livez", operations.LIVEZ),
    Route("GET", "/readyz", operations.READYZ),
    Route("GET", METRICS_PATH, operations.METRICS),
    Route("GET", STATUS_PATH, operations.STATUS),
    Route("GET", f"{STATUS_PATH}/data", operations.STATUS_DATA),
    Route("GET", f"{STATUS_PATH}/:asset", operations.STATUS_ASSET),
    Route("GET", "/openapi.json", operations.OPENAPI),
    Route("GET", "/docs", operations.DOCS),
    Route("GET", "/docs/:asset", operations.DOCS_ASSET),
    Route("POST", "/oauth2/token", operations.TOKEN),
    Route("GET", "/.well-known/jwks.json", operations.JWKS),
    Route("GET", f"{_METADATA}authorization-server", operations.AUTHORIZATION_SERVER),
    Route("GET", f"{_METADATA}protected-resource", operations.PROTECTED_RESOURCE),
]
ROUTES = [*(route for version in (None, *VERSIONS) for route in _item_routes(version)), *_OTHERS]


def documented() -> list[Documented]:
    """All routes, for the OpenAPI document."""
    return [Documented(*route) for route in ROUTES]


def endpoints(
    get_item: GetItem,
    change_item: ChangeItem,
    list_items: ListItems,
    batch: Batch,
    collections: CollectionsEndpoints,
    health: Health,
    metrics: Metrics,
    oauth2: OAuth2,
    docs: Docs,
    status: Status,
) -> dict[str, Endpoint]:
    """The endpoint of each operation, by the operation's id."""
    by_operation: list[tuple[Operation, Endpoint]] = [
        (operations.LIST_ITEMS, list_items.get),
        (operations.SEARCH_ITEMS, list_items.search),
        (operations.CREATE_ITEM, change_item.post),
        (operations.GET_ITEM, get_item),
        (operations.PUT_ITEM, change_item.put),
        (operations.PATCH_ITEM, change_item.patch),
        (operations.DELETE_ITEM, change_item.delete),
        (operations.BATCH, batch.post),
        (collection_operations.LIST_COLLECTIONS, collections.list),
        (collection_operations.GET_COLLECTION, collections.get),
        (collection_operations.GET_INDEXES, collections.indexes),
        (collection_operations.PUT_COLLECTION, collections.put),
        (collection_operations.DROP_COLLECTION, collections.delete),
        (operations.LIVEZ, health.livez),
        (operations.READYZ, health.readyz),
        (operations.METRICS, metrics.get),
        (operations.STATUS, status.page),
        (operations.STATUS_DATA, status.data),
        (operations.STATUS_ASSET, status.asset),
        (operations.OPENAPI, docs.openapi),
        (operations.DOCS, docs.page),
        (operations.DOCS_ASSET, docs.asset),
        (operations.TOKEN, oauth2.token),
        (operations.JWKS, oauth2.jwks),
        (operations.AUTHORIZATION_SERVER, oauth2.authorization_server),
        (operations.PROTECTED_RESOURCE, oauth2.protected_resource),
    ]
    return {operation.id: endpoint for operation, endpoint in by_operation}


class Router:
    """Answers every request: authentication, rate limit, route, scope, endpoint.

    ``endpoints`` are ours by the id of their operation; ``more`` are the routes (method, path,
    endpoint) that a Robyn application adds. Raises ValueError if one of them is also ours. The
    routes of ``items`` are those of every collection.
    """

    def __init__(
        self,
        gate: Gate,
        collections: Collections,
        endpoints: Mapping[str, Endpoint],
        more: Iterable[tuple[str, str, Endpoint]] = (),
    ) -> None:
        self._gate = gate
        self._collections = collections
        self._items = collections.find(ITEMS.name)
        ours = (
            (route.method, route.path, _checked(route, endpoints[route.operation.id]))
            for route in ROUTES
        )
        # The second half: the answer to a request that ``enter`` admitted.
        self.answer = RoutedEndpoints([*ours, *more], self._in_collection)

    async def __call__(self, context: RequestContext) -> Reply:
        """The whole answer; raises any HotshelfError."""
        await self.enter(context)
        return await self.answer(context)

    async def enter(self, context: RequestContext) -> None:
        """Authenticate and count the request, even if its path has no route.

        Raises what ``Gate.enter`` raises.
        """
        path = context.path
        context.collection = self._items
        if context.caller is not None or path in PROBES or context.method == "OPTIONS":
            # The hot path has admitted it already; probes must always get through; and a browser's
            # preflight has no credentials.
            return
        if _is_for_operators(path) and self._gate.is_local(context):
            return
        # CONNECT names a host, not a path, so credentials would be useless.
        is_open = path in OPEN_PATHS or path.startswith(_OPEN_BELOW) or context.method == "CONNECT"
        is_open = is_open or self._is_public(context)
        await (self._gate.enter_unknown if is_open else self._gate.enter)(context)

    def _is_public(self, context: RequestContext) -> bool:
        """Whether it reads what everybody may read, and carries no credentials."""
        if not _CREDENTIALS.isdisjoint(context.headers):
            return False
        found = self._collections.of_path(context.path)
        # A route of a Robyn application at such a path is no collection's.
        if found is None or not found[0].is_public or self.answer.methods(context.path):
            return False
        is_read = context.method in ("GET", "HEAD")
        return is_read or (context.method == "POST" and found[1].below == ITEMS.SEARCH)

    def _in_collection(self, context: RequestContext) -> str:
        """The path of ``items`` that stands for one of another collection, which is noted.

        Raises NoSuchCollection, and ShardUnavailable before any is known.
        """
        parts = split(context.path)
        if parts is None or parts[0] == ITEMS.name:
            return context.path
        name, target = parts
        # Without a version it may be any path.
        if target.version is None and name not in self._collections.by_name:
            return context.path
        context.collection = self._collections.find(name)
        return ITEMS.path(target.version) + target.below


def _is_for_operators(path: str) -> bool:
    return path in (METRICS_PATH, STATUS_PATH) or path.startswith(f"{STATUS_PATH}/")


def _checked(route: Route, endpoint: Endpoint) -> Endpoint:
    """The endpoint, preceded by the checks that need nothing of the request's content."""
    scope = route.operation.scope
    is_batch, is_read = route.operation is operations.BATCH, scope == scopes.READ

    async def in_scope(context: RequestContext) -> Reply:
        caller, kind = context.caller, context.collection.resource
        if is_read and not is_batch and context.collection.is_public:
            return await endpoint(context)
        if caller is None:
            # Public a moment ago.
            raise Unauthenticated("This request needs an access token or an API key.")
        # A batch may have only writes, so its scopes are checked once it is parsed.
        if not is_batch or not caller.may(kind.write_scope):
            of_kind = {scopes.READ: kind.read_scope, scopes.WRITE: kind.write_scope}
            scopes.require(caller, of_kind.get(scope, scope))
        return await endpoint(context)

    async def without_query(context: RequestContext) -> Reply:
        parameters(context.query_string, ())
        return await endpoint(context)

    return in_scope if scope else without_query
