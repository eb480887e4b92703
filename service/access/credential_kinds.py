"""The kinds of credentials: the header field of each and its name in OpenAPI.

Vary, CORS and the OpenAPI document are made from this table; ``credentials`` reads the fields.
"""

from typing import Final, NamedTuple


class CredentialKind(NamedTuple):
    """``schemes`` are the names of its OpenAPI security schemes."""

    header: str
    schemes: tuple[str, ...]


KINDS: Final = (
    CredentialKind("Authorization", ("bearer", "oauth2")),
    CredentialKind("X-API-Key", ("apiKey",)),
)
HEADERS: Final = tuple(kind.header for kind in KINDS)
