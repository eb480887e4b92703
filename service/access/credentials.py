"""The credentials of a request: ``Authorization: Bearer`` (RFC 9110 section 11, RFC 6750) and
``X-API-Key``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.access.api_keys import ApiKeys
from service.access.tokens import TokenVerifier, UnknownKey
from service.model.bounds import FIELD_MAX_BYTES, TOKEN_MAX_BYTES, bounded, header_too_large
from service.model.caller import Caller
from service.model.errors import (
    HotshelfError,
    InvalidApiKey,
    InvalidHeader,
    InvalidToken,
    Location,
    Unauthenticated,
)

Lines = Sequence[str]

# RFC 9110 section 11.4: the scheme in any case, spaces but no tabs, one token68.
_CREDENTIALS = re.compile(r"(?i:bearer) ++([A-Za-z0-9\-._~+/]++=*+)")
_SECOND = re.compile(r",\s*+(?i:bearer)\b")
_BEARER = re.compile(r"(?i:bearer)(?![^ \t])")
# Room for the scheme and a few spaces before the token.
_AUTHORIZATION_MAX_BYTES = TOKEN_MAX_BYTES + 16


class Authenticator:
    """Identifies the caller of a request. Only header fields count as credentials.

    An API key alone is the identity. Of a token and a key together, the token gives identity and
    scope, and the key the account that is charged. Both must be valid.
    """

    def __init__(self, tokens: TokenVerifier, api_keys: ApiKeys) -> None:
        self.tokens = tokens
        self._api_keys = api_keys

    async def authenticate(self, headers: Mapping[str, list[str]]) -> Caller:
        """The caller, from the request's header fields (lower-case name to its lines).

        Raises Unauthenticated, InvalidToken, InvalidApiKey, InvalidHeader (two credentials of a
        kind in one request), HeaderTooLarge and AccessUnavailable.
        """
        authorization, keys = headers.get("authorization", ()), headers.get("x-api-key", ())
        caller = self.recall(authorization, keys)
        if caller is not None:
            return caller
        by_token = by_key = None
        if authorization or not keys:
            by_token = await self.tokens.verify_waiting(bearer_token(authorization))
        if keys:
            by_key = await self._api_keys.caller(api_key(keys))
        return _joined(by_token, by_key)

    def must_look_up(self, headers: Mapping[str, list[str]]) -> bool:
        """Whether ``authenticate`` would ask the database for a key that may be a guess."""
        keys = headers.get("x-api-key", ())
        try:
            return bool(keys) and self._api_keys.recall(api_key(keys)) is None
        except HotshelfError:
            return False

    def recall(self, authorization: Lines, keys: Lines) -> Caller | None:
        """As ``authenticate``, but None where that would wait for keys or look-ups."""
        if not keys and len(authorization) == 1 and authorization[0].startswith("Bearer "):
            # Nearly every request, because a token that was verified before needs no parsing.
            caller = self.tokens.remembered(authorization[0][7:])
            if caller is not None:
                return caller
        by_token = by_key = None
        if authorization or not keys:
            try:
                by_token = self.tokens.verify(bearer_token(authorization))
            except UnknownKey:
                return None
        if keys:
            by_key = self._api_keys.recall(api_key(keys))
            if by_key is None:
                return None
        return _joined(by_token, by_key)


def bearer_token(lines: Lines) -> str:
    """The token in the lines of Authorization.

    Raises Unauthenticated where there is none, InvalidToken where it is malformed, HeaderTooLarge
    and, where there is more than one, InvalidHeader.
    """
    if not lines:
        raise Unauthenticated("This request needs an access token or an API key.")
    if len(lines) > 1:
        raise _double("Authorization")
    return parse_bearer(lines[0])


@bounded(_AUTHORIZATION_MAX_BYTES)
def parse_bearer(line: str) -> str:
    """As ``bearer_token``, for a single line.

    Raises HeaderTooLarge, InvalidHeader, InvalidToken, Unauthenticated.
    """
    if len(line) > _AUTHORIZATION_MAX_BYTES:
        raise header_too_large(
            "authorization", f"is longer than a token of {TOKEN_MAX_BYTES} bytes"
        )
    if _SECOND.search(line):
        raise _double("Authorization")
    value = line.strip(" \t")
    match = _CREDENTIALS.fullmatch(value)
    if match is None:
        if _BEARER.match(value):
            raise InvalidToken("The access token is not valid.")
        raise Unauthenticated("This request needs an access token of the Bearer scheme.")
    return match[1]


def api_key(lines: Lines) -> str:
    """The key in the lines of X-API-Key. Raises InvalidApiKey, InvalidHeader, HeaderTooLarge."""
    if len(lines) != 1:
        raise _double("X-API-Key")
    if not lines[0]:
        raise InvalidApiKey("The API key is empty.")
    if len(lines[0]) > FIELD_MAX_BYTES:
        raise header_too_large("x-api-key")
    return lines[0]


def _joined(by_token: Caller | None, by_key: Caller | None) -> Caller:
    if by_token is None:
        assert by_key is not None
        return by_key
    if by_key is None:
        return by_token
    return replace(by_token, account=by_key.account, rate=by_key.rate)


def _double(field: str) -> InvalidHeader:
    location = Location("Send one credential.", header=field)
    return InvalidHeader(f"The {field} header occurs more than once.", location)
