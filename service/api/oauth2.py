"""The built-in issuer over HTTP: the token endpoint (RFC 6749 section 4.4), its keys and the two
metadata documents (RFC 8414, RFC 9728).
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, unquote_plus

import orjson

from service.access import scopes
from service.access.api_keys import secret_hash
from service.access.issuer import BuiltInIssuer
from service.access.tokens import words
from service.api.request import Reply, RequestContext
from service.model.errors import BodyTooLarge, NoSuchRoute
from service.store.access import AccessRecords, OAuthClient

FORM = "application/x-www-form-urlencoded"
GRANT_TYPE = "client_credentials"
_FORM_MAX_BYTES = 8192
_NO_STORE = [("cache-control", "no-store"), ("pragma", "no-cache")]
# Shorter than the time for which a new key is published before it signs.
_PUBLIC = [("cache-control", "public, max-age=30")]
_NOBODY_HASH = bytes(32)


class _Refused(Exception):
    """An error of RFC 6749 section 5.2."""

    def __init__(self, error: str, description: str, *challenge: tuple[str, str]) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.challenge = challenge


class OAuth2:
    """Endpoints without authentication. ``issuer`` None: there is no built-in issuer.

    ``base_url`` is this service's URL for clients; ``issuers`` are all trusted ones.
    """

    def __init__(
        self,
        issuer: BuiltInIssuer | None,
        records: AccessRecords,
        base_url: str,
        issuers: Sequence[str],
    ) -> None:
        self._issuer = issuer
        self._records = records
        self._base_url = base_url.rstrip("/")
        self._issuers = list(issuers)

    async def token(self, context: RequestContext) -> Reply:
        """POST /oauth2/token: an access token for a client (client_credentials).

        Raises what reading the body and the control tables raise.
        """
        issuer = self._built_in()
        try:
            form = await _form(context)
            client = await self._client(context.headers, form)
            if form.get("grant_type") is None:
                raise _Refused("invalid_request", "grant_type is missing")
            if form["grant_type"] != GRANT_TYPE:
                raise _Refused("unsupported_grant_type", "only client_credentials is supported")
            scope = _granted(client, form.get("scope"))
        except _Refused as refused:
            return _refusal(refused)
        granted = {
            "access_token": issuer.sign(client.id, scope, client.id),
            "token_type": "Bearer",
            "expires_in": issuer.token_ttl_s,
            "scope": scope,
        }
        return _json(200, granted, _NO_STORE)

    async def jwks(self, _: RequestContext) -> Reply:
        """GET /.well-known/jwks.json."""
        issuer = self._built_in()
        return Reply(200, [("content-type", "application/jwk-set+json"), *_PUBLIC], issuer.jwks)

    async def authorization_server(self, _: RequestContext) -> Reply:
        """GET /.well-known/oauth-authorization-server."""
        issuer = self._built_in()
        methods = ["client_secret_basic", "client_secret_post"]
        document = {
            "issuer": issuer.name,
            "token_endpoint": f"{self._base_url}/oauth2/token",
            "jwks_uri": f"{self._base_url}/.well-known/jwks.json",
            "scopes_supported": scopes.ALL,
            "response_types_supported": [],
            "grant_types_supported": [GRANT_TYPE],
            "token_endpoint_auth_methods_supported": methods,
        }
        return _json(200, document, _PUBLIC)

    async def protected_resource(self, _: RequestContext) -> Reply:
        """GET /.well-known/oauth-protected-resource."""
        document = {
            "resource": self._base_url,
            "authorization_servers": self._issuers,
            "scopes_supported": scopes.ALL,
            "bearer_methods_supported": ["header"],
        }
        return _json(200, document, _PUBLIC)

    def _built_in(self) -> BuiltInIssuer:
        if self._issuer is None:
            raise NoSuchRoute("Access tokens are issued elsewhere.")
        return self._issuer

    async def _client(
        self, headers: Mapping[str, list[str]], form: Mapping[str, str]
    ) -> OAuthClient:
        """The authenticated client. An unknown id takes as long as a wrong secret."""
        lines = headers.get("authorization", [])
        challenge = [("www-authenticate", 'Basic realm="hotshelf"')] if lines else []
        if len(lines) > 1 or (lines and "client_secret" in form):
            raise _Refused("invalid_request", "more than one way to authenticate")
        by_header = _basic(lines[0]) if lines else None
        client_id, secret = by_header or (form.get("client_id"), form.get("client_secret"))
        if (lines and by_header is None) or not client_id or not secret:
            raise _Refused("invalid_client", "the client is not authenticated", *challenge)
        if form.get("client_id", client_id) != client_id:
            raise _Refused("invalid_request", "two different clients are named")
        client = await self._records.find_client(client_id)
        expected = _NOBODY_HASH if client is None else client.secret_hash
        if not hmac.compare_digest(secret_hash(secret), expected) or client is None:
            raise _Refused("invalid_client", "the client is not authenticated", *challenge)
        return client


async def _form(context: RequestContext) -> dict[str, str]:
    media_type = context.headers.get("content-type", [""])[0].partition(";")[0].strip().lower()
    if media_type != FORM:
        raise _Refused("invalid_request", f"the body must be {FORM}")
    try:
        body = await context.read_body(_FORM_MAX_BYTES)
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20
        )
    except ValueError:
        raise _Refused("invalid_request", "the form cannot be read") from None
    except BodyTooLarge:
        raise _Refused("invalid_request", "the form is too long") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _Refused("invalid_request", "the form repeats a parameter")
    if "\0" in "".join(form.values()):
        raise _Refused("invalid_request", "the form contains a NUL")
    # RFC 6749 section 3.2: a parameter without a value counts as omitted.
    return {name: value for name, value in form.items() if value}


def _basic(value: str) -> tuple[str, str] | None:
    """Client id and secret of an Authorization header (RFC 6749 section 2.3.1), or None."""
    scheme, _, encoded = value.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(" "), validate=True).decode()
        client_id, colon, secret = text.partition(":")
        pair = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        return None
    return pair if colon and "\0" not in pair[0] else None


def _granted(client: OAuthClient, asked: str | None) -> str:
    """RFC 6749 section 3.3: the requested scope, or by default all of the client's."""
    wanted = words(asked or client.scope)
    if not wanted or not wanted <= words(client.scope):
        raise _Refused("invalid_scope", "the client may not have this scope")
    return " ".join(sorted(wanted))


def _refusal(refused: _Refused) -> Reply:
    status = 401 if refused.error == "invalid_client" else 400
    document = {"error": refused.error, "error_description": refused.description}
    return _json(status, document, [*_NO_STORE, *refused.challenge])


def _json(status: int, document: object, headers: list[tuple[str, str]]) -> Reply:
    return Reply(status, [("content-type", "application/json"), *headers], orjson.dumps(document))
