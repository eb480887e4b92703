"""Builds authentication and rate limits from the settings: key sets, tokens, API keys, gate."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from service.access.api_keys import ApiKeys
from service.access.credentials import Authenticator
from service.access.issuer import BuiltInIssuer
from service.access.key_set import KeySet
from service.access.key_sources import HttpKeySource, file_source
from service.access.limiter import Limiter
from service.access.peer import TrustedProxies
from service.access.tokens import TokenVerifier
from service.api.gate import Gate
from service.api.oauth2 import OAuth2
from service.compose.checked import checked
from service.model.rate import Rate
from service.setting_sources import SettingsError
from service.settings import Auth, Http, Settings
from service.store.access import AccessRecords
from service.store.shards import Shards

# Shorter than for external issuers, because our own database can be queried more often.
_OWN_KEYS_COOLDOWN_S = 1.0


async def open_access(
    settings: Settings,
    shards: Shards,
    limiter: Limiter,
    proxies: TrustedProxies,
    opened: AsyncExitStack,
) -> tuple[Gate, OAuth2, TokenVerifier]:
    """Build the gate and its parts; the control tables are on the first shard."""
    records = AccessRecords(shards.all[0])
    issuer = _built_in_issuer(settings.auth, records)
    key_sets = _key_sets(settings.auth, issuer)
    for keys in key_sets.values():
        opened.push_async_callback(keys.close)
    await asyncio.gather(*(keys.open() for keys in key_sets.values()))
    auth, http = settings.auth, settings.http
    held_bytes = settings.memory.tokens_max_bytes
    tokens = TokenVerifier(key_sets, auth.audience, auth.leeway_s, cache_max_bytes=held_bytes)
    if issuer is not None:
        tokens.is_revoked, issuer.on_revoked = issuer.is_revoked, tokens.forget
    api_keys = ApiKeys(records.find_api_key, settings.auth.refresh_s)
    authenticator = Authenticator(tokens, api_keys)
    limits = settings.limits
    rate = Rate(limits.quota, limits.window_s, limits.capacity)
    oauth2 = OAuth2(issuer, records, http.public_url or auth.issuer, list(key_sets))
    gate = Gate(authenticator, limiter, rate, proxies, trusts_local=http.open_metrics)
    return gate, oauth2, tokens


def trusted_proxies(http: Http) -> TrustedProxies:
    """The proxies of the settings. Raises SettingsError."""
    return checked("http.trusted_proxies", partial(TrustedProxies, http.trusted_proxies))


def _built_in_issuer(auth: Auth, records: AccessRecords) -> BuiltInIssuer | None:
    """None where the settings give our ``iss`` an external key set."""
    if auth.jwks:
        return None
    return BuiltInIssuer(auth.issuer, auth.audience, auth.token_ttl_s, records)


def _key_sets(auth: Auth, issuer: BuiltInIssuer | None) -> dict[str, KeySet]:
    """Every trusted issuer's keys, by its ``iss``. Raises SettingsError."""
    key_sets = {}
    for entry in (*auth.issuers, *([(auth.issuer, auth.jwks)] if auth.jwks else [])):
        if len(entry) != 2:
            raise SettingsError("auth.issuers: each entry is an iss and its key set (file or URL)")
        name, jwks = entry
        source = HttpKeySource(jwks) if "://" in jwks else file_source(Path(jwks))
        key_sets[name] = KeySet(source, refresh_s=auth.refresh_s, name=name)
    if issuer is not None:
        key_sets[issuer.name] = KeySet(
            issuer.load, refresh_s=auth.refresh_s, cooldown_s=_OWN_KEYS_COOLDOWN_S, name=issuer.name
        )
    return key_sets
