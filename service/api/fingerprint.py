"""Fingerprints, by which a retry is recognised under its idempotency key."""

import hashlib
from collections.abc import Mapping

from service import native
from service.api.headers.preconditions import idempotency_key
from service.api.request import RequestContext
from service.items.planned import IdempotencyKey
from service.model.resource import url_version


def keyed(
    context: RequestContext, item_id: bytes | None, media_type: str, body: bytes
) -> IdempotencyKey | None:
    """The request's idempotency key with its fingerprint; None if it has no key.

    ``item_id`` None is the collection; ``media_type`` is empty if there is no body. Accept,
    Accept-Encoding and Prefer are left out, because a replay is rendered as the retry prefers.
    Raises InvalidHeader.
    """
    key = idempotency_key(context.headers)
    return None if key is None else fingerprinted(key, context, item_id, media_type, body)


def fingerprinted(
    key: str, context: RequestContext, item_id: bytes | None, media_type: str, body: bytes
) -> IdempotencyKey:
    """As ``keyed``, with the request's key already parsed."""
    number = context.collection.number
    # None of these contains NUL, so different requests have different texts.
    parts = (
        context.method,
        str(url_version(context.path)),
        "" if item_id is None else native.format_id(item_id),
        context.query_string,
        media_type,
        _field(context.headers, "if-match"),
        _field(context.headers, "if-none-match"),
        *([f"collection {number}"] if number else ()),
        "",
    )
    return IdempotencyKey(key, hashlib.sha256("\0".join(parts).encode() + body).digest())


def _field(headers: Mapping[str, list[str]], name: str) -> str:
    """All lines as one (RFC 9110 section 5.3); absent and empty differ."""
    return "=" + ", ".join(headers[name]) if name in headers else ""
