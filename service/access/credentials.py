"""The credentials of a request: ``Authorization: Bearer`` (RFC 9110 section 11, RFC 6750)."""

import re
from collections.abc import Mapping, Sequence

from service.access.tokens import Caller, TokenVerifier
from service.model.errors import (
    InvalidHeader,
    InvalidToken,
    Place,
    Unauthenticated,
)

# RFC 9110 section 11.4: the scheme in any case, blanks and no tabs, one token68.
_CREDENTIALS = re.compile(r"(?i:bearer) +([A-Za-z0-9\-._~+/]+=*)")


class Authenticator:
    """Tells who sends a request. Nothing but header fields counts as a credential."""

    def __init__(self, tokens: TokenVerifier) -> None:
        self._tokens = tokens

    async def authenticate(self, headers: Mapping[str, list[str]]) -> Caller:
        """The caller by the request's header fields (lower-case name to its lines).

        Raises Unauthenticated, InvalidToken, InvalidHeader (two credentials in one request).
        """
        return self._tokens.verify(bearer_token(headers.get("authorization", ())))


def bearer_token(lines: Sequence[str]) -> str:
    """The token in the lines of Authorization.

    Raises Unauthenticated where there is none, InvalidToken where it is malformed and
    InvalidHeader where there is more than one.
    """
    if not lines:
        raise Unauthenticated("This request needs an access token.")
    if len(lines) > 1 or re.search(r",\s*bearer\b", lines[0], re.IGNORECASE):
        place = Place("Send one credential.", header="Authorization")
        raise InvalidHeader("The Authorization header is there more than once.", place)
    value = lines[0].strip(" \t")
    match = _CREDENTIALS.fullmatch(value)
    if match is None:
        if re.match(r"(?i:bearer)(?![^ \t])", value):
            raise InvalidToken("The access token is not valid.")
        raise Unauthenticated("This request needs an access token of the Bearer scheme.")
    return match[1]
