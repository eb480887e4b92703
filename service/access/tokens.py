"""Verifies bearer tokens (RFC 6750, RFC 7519, RFC 9068) with the issuers' key sets."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jwt
from jwt.types import Options

from service import native
from service.access.key_set import KeySet
from service.model.bounds import TOKEN_MAX_BYTES, bounded
from service.model.caller import Caller
from service.model.errors import AccessUnavailable, InvalidToken

# RFC 7515 section 7.1: three parts in base64url, which is written without padding.
_COMPACT = re.compile(r"[A-Za-z0-9_-]++\.[A-Za-z0-9_-]++\.[A-Za-z0-9_-]++")
# Times are checked here, because the cache must use the same clock and rule.
_OPTIONS: Options = {
    "require": ["exp", "iss", "aud", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
# RFC 8725 section 3.11: a token typed as something else (a logout token, say) is no access token.
_TYPES = {"at+jwt", "application/at+jwt", "jwt"}
_TIME_MAX_S = 1e12
_CACHE_MAX_TOKENS = 10_000
# An entry without its token and scope words: measured with tracemalloc, rounded up.
_ENTRY_BYTES = 700


class UnknownKey(Exception):
    """A token names a key that its issuer's set does not have (yet)."""

    def __init__(self, keys: KeySet) -> None:
        super().__init__()
        self.keys = keys


class TokenVerifier:
    """Verifies access tokens of the trusted issuers, each with its own keys.

    A token that was verified once costs one dict look-up and one comparison from then on, until
    ``exp`` plus the leeway, as without the cache. The cache is bounded by count and bytes
    (``cached_bytes``: tokens, their callers and the words of their scopes); the oldest entry is
    evicted first.
    """

    def __init__(
        self,
        issuers: Mapping[str, KeySet],
        audience: str,
        leeway_s: int,
        now_s: Callable[[], float] = time.time,
        cache_max_bytes: int = 16 << 20,
    ) -> None:
        self._issuers = issuers
        self._audience = audience
        self._leeway_s = leeway_s
        self.now_s = now_s
        self.verified: dict[str, native.Verified] = {}
        self._cache_max_bytes = cache_max_bytes
        self.cached_bytes = 0
        for keys in issuers.values():
            keys.on_key_gone = self.forget
        # Issuer and client_id: whether that client is revoked. Set by the owner, which has to call
        # ``forget`` after each change.
        self.is_revoked: Callable[[str, str], bool] = lambda _issuer, _client_id: False

    async def verify_waiting(self, token: str) -> Caller:
        """As ``verify``, but reloads the issuer's keys for an unknown key.

        Raises AccessUnavailable instead of InvalidToken until the issuer's keys have been loaded
        once.
        """
        try:
            return self.verify(token)
        except UnknownKey as unknown:
            keys = unknown.keys
        await keys.refresh()
        try:
            return self.verify(token)
        except UnknownKey:
            if keys.loaded:
                _refuse()
            raise AccessUnavailable(
                "The keys that sign access tokens cannot be loaded.",
                retry_after_s=keys.retry_after_s,
            ) from None

    @bounded(TOKEN_MAX_BYTES)
    def verify(self, token: str) -> Caller:
        """Raises UnknownKey, or InvalidToken with the same text for all faults except expiry."""
        caller = self.remembered(token)
        if caller is not None:
            return caller
        if len(token) > TOKEN_MAX_BYTES:
            raise InvalidToken(f"The access token is longer than {TOKEN_MAX_BYTES} bytes.")
        if _COMPACT.fullmatch(token) is None:
            _refuse()
        claims = self._claims(token)
        caller = _caller_of(claims)
        if self.is_revoked(claims["iss"], claims.get("client_id") or ""):
            _refuse()
        good_until_s = claims["exp"] + self._leeway_s
        self._keep(token, native.Verified(caller, good_until_s, _weight_bytes(token, caller)))
        return caller

    def remembered(self, token: str) -> Caller | None:
        """The caller, if exactly this text was verified before and has not expired."""
        known = self.verified.get(token)
        if known is None:
            return None
        if self.now_s() < known.good_until_s:
            return known.caller
        self._drop(token)
        return None

    def forget(self) -> None:
        """Empty the cache of verified tokens, because a key or a client was removed."""
        self.verified.clear()
        self.cached_bytes = 0

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
            claims = self._signed(token, unverified["header"], unverified["payload"])
        except (jwt.PyJWTError, ValueError):
            _refuse()
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        """Check times by our clock, with the leeway; only numbers (RFC 7519 section 2,
        NumericDate).
        """
        for name in ("exp", "nbf", "iat"):
            value = claims.get(name, 0)
            # Written so that NaN, which Python's JSON accepts, is refused too.
            if type(value) not in (int, float) or not abs(value) < _TIME_MAX_S:
                _refuse()
        now_s = self.now_s()
        if max(claims.get("nbf", 0), claims.get("iat", 0)) > now_s + self._leeway_s:
            _refuse()
        # A text of its own, because the signature is valid and so nothing leaks to a forger.
        if claims["exp"] + self._leeway_s <= now_s:
            raise InvalidToken("The access token has expired.")

    def _signed(
        self, token: str, header: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The claims, if a key of the issuer's set has signed them."""
        keys, kid = self._keys_for(header, claims), header.get("kid")
        for key in keys.find(kid, header.get("alg")):
            with contextlib.suppress(jwt.InvalidSignatureError):
                return jwt.decode(
                    token, key, options=_OPTIONS, issuer=claims["iss"], audience=self._audience
                )
        if kid is not None and keys.has(kid):
            _refuse()
        raise UnknownKey(keys)

    def _keys_for(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> KeySet:
        """The keys of the named issuer alone: no issuer can speak for another."""
        if "crit" in header or str(header.get("typ", "jwt")).lower() not in _TYPES:
            _refuse()
        issuer = claims.get("iss")
        keys = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            _refuse()
        return keys

    def _keep(self, token: str, verified: native.Verified) -> None:
        self.verified[token] = verified
        self.cached_bytes += verified.weight_bytes
        while len(self.verified) > _CACHE_MAX_TOKENS or self.cached_bytes > self._cache_max_bytes:
            self._drop(next(iter(self.verified)))

    def _drop(self, token: str) -> None:
        self.cached_bytes -= self.verified.pop(token).weight_bytes


def _weight_bytes(token: str, caller: Caller) -> int:
    words_bytes = sys.getsizeof(caller.scopes) + sum(map(sys.getsizeof, caller.scopes))
    return _ENTRY_BYTES + sys.getsizeof(token) + words_bytes


def _caller_of(claims: Mapping[str, Any]) -> Caller:
    subject, scope, client_id = claims["sub"], claims.get("scope", ""), claims.get("client_id")
    if not is_name(subject) or not isinstance(scope, str):
        _refuse()
    if client_id is not None and not is_name(client_id):
        _refuse()
    account = f"client:{client_id}" if client_id else f"subject:{subject}"
    return Caller(subject, words(scope), account)


def is_name(text: object) -> bool:
    """Whether this can be stored as an owner and shown: 1 to 255 printable characters."""
    return isinstance(text, str) and 0 < len(text) <= 255 and text.isprintable()


def words(scope: str) -> frozenset[str]:
    """The words of an OAuth scope (RFC 6749 section 3.3: separated by spaces, unordered)."""
    return frozenset(scope.split(" ")) - {""}


def _refuse() -> NoReturn:
    raise InvalidToken("The access token is not valid.")
