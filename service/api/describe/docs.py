"""/docs: Swagger UI for our own OpenAPI document; it loads nothing from other hosts."""

from functools import lru_cache
from pathlib import Path

from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from service.api.headers.content_codings import choose_coding, encode
from service.api.request import Reply, RequestContext
from service.model.errors import NoSuchRoute

_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
}
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hotshelf API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
# Because Swagger UI has images as data URLs and sets inline styles.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = [("vary", "Accept-Encoding"), ("x-content-type-options", "nosniff")]


class Docs:
    """Answers with the document and the page; ``document`` is the document's JSON text."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    async def openapi(self, context: RequestContext) -> Reply:
        """GET /openapi.json."""
        return _compressed(context, "application/json", self._document, "no-cache")

    async def page(self, context: RequestContext) -> Reply:
        """GET /docs."""
        reply = _compressed(context, "text/html; charset=utf-8", _PAGE, "no-cache")
        reply.headers.append(("content-security-policy", _POLICY))
        return reply

    async def asset(self, context: RequestContext) -> Reply:
        """GET /docs/{asset}. Raises NoSuchRoute."""
        name = context.path_params["asset"]
        if name not in _ASSETS:
            raise NoSuchRoute("There is nothing at this path.")
        return _compressed(context, _ASSETS[name], _content(name), "public, max-age=3600")


def _compressed(context: RequestContext, media_type: str, body: bytes, cache_control: str) -> Reply:
    headers = [("content-type", media_type), ("cache-control", cache_control), *_HEADERS]
    coding = choose_coding(context.headers)
    coded = _encoded(body, coding)
    if coded is None:
        return Reply(200, headers, body)
    return Reply(200, [*headers, ("content-encoding", coding)], coded)


@lru_cache(maxsize=16)
def _encoded(body: bytes, coding: str) -> bytes | None:
    return encode(body, coding)


@lru_cache
def _content(name: str) -> bytes:
    return _START if name == "start.js" else (Path(swagger_ui_path) / name).read_bytes()
