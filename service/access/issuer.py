"""The built-in issuer: signs access tokens with keys from the control tables."""

import json
from collections.abc import Callable

from service.access import signing_keys
from service.model.errors import AccessUnavailable
from service.store.access import AccessRecords

# A new key is published this long before it signs, because workers load keys every 30 s.
PUBLISH_AHEAD_S = 60


class BuiltInIssuer:
    """Publishes its keys as a JWK Set and signs with the newest one that is old enough."""

    def __init__(self, name: str, audience: str, token_ttl_s: int, records: AccessRecords) -> None:
        self.name = name
        self.token_ttl_s = token_ttl_s
        self._audience = audience
        self._records = records
        self._current: signing_keys.Jwk | None = None
        self._revoked: frozenset[str] = frozenset()
        # Set by the owner of the cache of verified tokens.
        self.on_revoked: Callable[[], None] = lambda: None
        self._published = b'{"keys":[]}'

    @property
    def jwks(self) -> bytes:
        """The public keys as last loaded."""
        return self._published

    async def load(self) -> bytes:
        """Reload keys and revoked clients, and create the first key if there is none; a source for
        a KeySet.

        Raises what AccessRecords raises.
        """
        await self._load_revoked()
        keys = await self._records.signing_keys()
        if not keys:
            await self._records.add_first_signing_key(signing_keys.generate())
            keys = await self._records.signing_keys()
        public = [signing_keys.public_part(key.jwk) for key in keys]
        self._published = json.dumps({"keys": public}).encode()
        self._current = next((key.jwk for key in keys if key.signs), None)
        return self._published

    def is_revoked(self, issuer: str, client_id: str) -> bool:
        """Whether the client of this issuer is revoked and its tokens with it, as last loaded."""
        return issuer == self.name and client_id in self._revoked

    async def _load_revoked(self) -> None:
        before, self._revoked = self._revoked, await self._records.revoked_clients()
        if not self._revoked <= before:
            self.on_revoked()

    def sign(self, subject: str, scope: str, client_id: str, ttl_s: int | None = None) -> str:
        """An access token. Raises AccessUnavailable before the first successful ``load``."""
        if self._current is None:
            raise AccessUnavailable("The signing key cannot be loaded.", retry_after_s=1)
        return signing_keys.mint(
            self._current,
            self.name,
            self._audience,
            subject,
            scope,
            ttl_s or self.token_ttl_s,
            client_id,
        )
