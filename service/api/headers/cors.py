"""Cross-origin calls from browsers (Fetch standard, section 3.2), as the settings allow.

The service uses no cookies, so ``*`` is safe and credentials mode is not offered.
"""

from collections.abc import Mapping

from service.access.credential_kinds import HEADERS
from service.api.request import Reply
from service.settings import Cors

_ALLOW_HEADERS = ", ".join(
    (
        *map(str.lower, HEADERS),
        "accept",
        "confirm-drop",
        "content-encoding",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "prefer",
        "traceparent",
        "tracestate",
        "x-idempotency-key",
        "x-idempotent-id",
        "x-request-id",
    )
)
_EXPOSE_HEADERS = ", ".join(
    (
        "accept-patch",
        "allow",
        "cache-status",
        "deprecation",
        "etag",
        "idempotency-replayed",
        "link",
        "location",
        "preference-applied",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "server-timing",
        "sunset",
        "traceparent",
        "www-authenticate",
        "x-request-id",
    )
)


def with_cors(settings: Cors, method: str, headers: Mapping[str, list[str]], reply: Reply) -> Reply:
    """The reply, readable for allowed origins; ``headers`` are the request's.

    Apply it to every reply, errors included, because a browser hides replies without these fields.
    A reply to OPTIONS lists the path's methods in Allow, which preflights need.
    """
    if not settings.allowed_origins:
        return reply
    fields = [(name, value) for name, value in reply.headers if name != "vary"]
    vary = [value for name, value in reply.headers if name == "vary"]
    if not any(value.endswith("Origin") for value in vary):
        vary.append("Origin")
    fields.append(("vary", ", ".join(vary)))
    origin = _allowed_origin(settings, headers)
    if origin is not None:
        fields.append(("access-control-allow-origin", origin))
        if method == "OPTIONS" and "access-control-request-method" in headers:
            fields += _preflight(settings, reply)
        else:
            fields.append(("access-control-expose-headers", _EXPOSE_HEADERS))
    return reply._replace(headers=fields)


def _preflight(settings: Cors, reply: Reply) -> list[tuple[str, str]]:
    allow = ", ".join(value for name, value in reply.headers if name == "allow")
    return [
        ("access-control-allow-methods", allow),
        ("access-control-allow-headers", _ALLOW_HEADERS),
        ("access-control-max-age", str(settings.max_age_s)),
    ]


def _allowed_origin(settings: Cors, headers: Mapping[str, list[str]]) -> str | None:
    origins = headers.get("origin", [])
    if len(origins) != 1:
        return None
    if "*" in settings.allowed_origins:
        return "*"
    return origins[0] if origins[0] in settings.allowed_origins else None
