"""A separate port for operators: probes, metrics and status, even if the public port is busy.

Each worker listens on it, and the kernel chooses which one gets a connection. aiohttp serves it,
with its own limits for headers and idle connections; speed does not matter here.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from service.api.request import Reply, RequestContext
from service.observe.logs import fields
from service.settings import Admin

logger = logging.getLogger(__name__)

_ASSETS = "/status/"
_NOT_FOUND = Reply(404, [("content-type", "text/plain")], b"There is nothing at this path.\n")
_REFUSED = Reply(421, [("content-type", "text/plain")], b"Use this port's address as the host.\n")
_NO_METHOD = Reply(405, [("allow", "GET, HEAD")])

Endpoint = Callable[[RequestContext], Awaitable[Reply]]


class AdminPort:
    """``endpoints`` are by path; ``asset`` answers paths below /status/."""

    def __init__(self, settings: Admin, endpoints: Mapping[str, Endpoint], asset: Endpoint) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._asset = asset
        self._runner: web.ServerRunner | None = None

    async def open(self) -> None:
        """Listen; a port in use causes only a warning."""
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        site = web.TCPSite(self._runner, host, port, reuse_port=True, backlog=128)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            logger.warning("admin-port", **fields(host=host, port=port, reason=reason))

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        reply = await self._reply(request)
        headers = [*reply.headers, ("connection", "close")]
        body = b"" if request.method == "HEAD" else reply.body
        return web.Response(status=reply.status, headers=headers, body=body)

    async def _reply(self, request: web.BaseRequest) -> Reply:
        if request.method not in ("GET", "HEAD"):
            return _NO_METHOD
        if not self._is_addressed(request.host):
            # Only by address, because otherwise a page of another site could read it by DNS
            # rebinding.
            return _REFUSED
        endpoint = self._endpoints.get(request.path)
        context = _context(request)
        if endpoint is None and request.path.startswith(_ASSETS):
            endpoint = self._asset
            context.path_params = {"asset": request.path.removeprefix(_ASSETS)}
        if endpoint is None:
            return _NOT_FOUND
        try:
            return await endpoint(context)
        except Exception as error:  # problem documents are for the public port
            logger.warning("admin-request", **fields(reason=type(error).__name__))
            return _NOT_FOUND

    def _is_addressed(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name in ("localhost", self._settings.host, ""):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _context(request: web.BaseRequest) -> RequestContext:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    return RequestContext(
        method=request.method,
        scheme="http",
        path=request.path,
        query_string=request.query_string,
        headers=headers,
        peer=request.remote or "",
        request_id="",
        read_body=_no_body,
    )


async def _no_body() -> bytes:
    return b""
