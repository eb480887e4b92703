"""/docs: Swagger UI for our own OpenAPI document; it loads nothing from other hosts."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from service import native
from service.api.headers.content_codings import choose_coding, coded, encode
from service.api.headers.preconditions import conditions_of
from service.api.request import Reply, RequestContext
from service.flow.offload import BESIDE_THE_LOOP
from service.model.entity_tag import entity_tag
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
    """Answers with the document and the page.

    ``document`` makes the document's JSON text when it is asked for the first time, and again
    after ``outdate``.
    """

    def __init__(self, document: Callable[[], bytes]) -> None:
        self._make = document
        self._document: Reply | None = None
        self._coded: dict[str, Reply] = {}
        self._making = asyncio.Lock()
        self._changes = 0

    def outdate(self) -> None:
        """Collections have changed."""
        self._changes += 1
        self._document, self._coded = None, {}

    async def openapi(self, context: RequestContext) -> Reply:
        """GET /openapi.json. Raises InvalidHeader, NotAcceptable, Overloaded."""
        conditions, coding = conditions_of(context.headers), choose_coding(context.headers)
        async with self._making:
            document = self._document or await self._new_document()
            # One that is outdated while it is encoded is not kept.
            kept = self._coded if document is self._document else {}
            if coding not in kept:
                kept[coding] = await coded(document, coding)
        reply, tagged = kept[coding], _Tagged((1, native.etag_hash(document.body)))
        tag = entity_tag(tagged, f"-{coding}" if coding else "")
        headers = [*reply.headers, ("cache-control", "no-cache"), *_HEADERS, ("etag", tag)]
        if conditions.if_none_match is not None and conditions.if_none_match.matches_weakly(tagged):
            return Reply(304, [field for field in headers if not field[0].startswith("content-")])
        return Reply(200, headers, reply.body)

    async def _new_document(self) -> Reply:
        changes = self._changes
        body = await BESIDE_THE_LOOP.run(self._make)
        document = Reply(200, [("content-type", "application/json")], body)
        if changes == self._changes:
            self._document = document
        return document

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


class _Tagged(NamedTuple):
    tag: tuple[int, str]


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
