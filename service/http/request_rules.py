"""Checks the rules of HTTP itself, for every request."""

from service.api.request import RequestContext, Scope
from service.model.errors import InvalidHeader, Location, NoSuchRoute, TooManyHeaders

# Granian itself ends at 100, and at 64 KiB.
_MAX_FIELDS = 99
# As RSGI writes it.
_HTTP_1_0 = "1"


def check_headers(scope: Scope, context: RequestContext) -> None:
    """RFC 9110 section 5.5 (field values), RFC 9112 sections 3.2 (one Host) and 6.1.

    Raises InvalidHeader, TooManyHeaders.
    """
    headers, sent = context.headers, scope.headers
    if len(sent) != len(headers):
        names = sent.keys()
        wrong = [name for name in names if name not in headers]
        raise InvalidHeader(
            "A header field contains bytes that are not ASCII.",
            *(Location("Only ASCII is accepted.", header=name) for name in wrong),
        )
    if sum(map(len, headers.values())) > _MAX_FIELDS:
        raise TooManyHeaders(f"A request has at most {_MAX_FIELDS} header fields.")
    hosts = len(headers.get("host", ()))
    # The checks of some proxies are HTTP/1.0 without it, as that version allows.
    if hosts != 1 and (hosts or scope.http_version != _HTTP_1_0):
        raise InvalidHeader(
            "A request needs exactly one Host field.",
            Location("Send it exactly once.", header="host"),
        )
    if not is_clearly_framed(context):
        raise InvalidHeader(
            "The only transfer coding is chunked.",
            Location("is not chunked", header="transfer-encoding"),
        )


def is_clearly_framed(context: RequestContext) -> bool:
    """Whether it is certain where the body ends; the connection is of no use if not."""
    codings = context.headers.get("transfer-encoding")
    return codings is None or (len(codings) == 1 and codings[0].lower() == "chunked")


def check_path(path: str) -> None:
    """Raises NoSuchRoute for a path that is still percent-encoded after Granian decoded it once."""
    odd = "%" in path or "\N{REPLACEMENT CHARACTER}" in path or "\0" in path
    if odd or "//" in path or (path.endswith("/") and path != "/"):
        raise NoSuchRoute("There is nothing at this path.")
