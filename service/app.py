"""The composition root: the only file that builds things and ties them together.

Granian loads ``service.app:application`` in every worker; everything that holds a connection
is opened on that worker's own event loop and closed on it.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service import setting_sources
from service.access.api_keys import ApiKeys
from service.access.credentials import Authenticator
from service.access.issuer import BuiltInIssuer
from service.access.key_set import KeySet
from service.access.key_sources import HttpKeySource, file_source
from service.access.tokens import TokenVerifier
from service.api.change_item import ChangeItem
from service.api.cors import with_cors
from service.api.get_item import GetItem
from service.api.health import Health
from service.api.item_reply import ItemReplies
from service.api.oauth2 import OAuth2
from service.api.problem import problem_reply
from service.api.routes import Api, add_routes
from service.flow.drain import DrainFlag
from service.http.robyn_bridge import RobynBridge, import_robyn, new_app
from service.http.rsgi import Application, Worker
from service.items.write import ItemWriter
from service.setting_sources import SettingsError
from service.settings import Auth, Settings
from service.store.access import AccessRecords
from service.store.shards import Shards

# Our own database may be asked more often than someone's issuer.
_OWN_KEYS_COOLDOWN_S = 1.0


async def open_worker() -> Worker:
    """Build one worker from the environment's settings. Raises SettingsError, ShardMapError."""
    settings, _ = setting_sources.load(os.environ)
    logging.basicConfig(level=settings.log.level.upper())
    shards = Shards(settings.database)
    await shards.open()
    redis = Redis.from_url(settings.redis.url) if settings.redis.url else None
    records = AccessRecords(shards.all[0])
    issuer = _built_in_issuer(settings.auth, records)
    key_sets = _key_sets(settings.auth, issuer)
    await asyncio.gather(*(keys.open() for keys in key_sets.values()))
    tokens = TokenVerifier(key_sets, settings.auth.audience, settings.auth.leeway_s)
    authenticator = Authenticator(tokens, ApiKeys(records.find_api_key))
    drain = DrainFlag.inherited(os.environ)
    base_url = settings.http.public_url or settings.auth.issuer
    oauth2 = OAuth2(issuer, records, base_url, list(key_sets))
    ping = _ping(redis, settings)
    api = _build_api(settings, shards, authenticator, oauth2, ping, lambda: bool(drain))
    robyn_app = new_app()
    add_routes(robyn_app, import_robyn(), api, authenticator.authenticate)
    bridge = RobynBridge(robyn_app, problem_reply)

    async def close() -> None:
        await asyncio.gather(*(keys.close() for keys in key_sets.values()))
        await shards.close()
        if redis is not None:
            await redis.aclose()

    return Worker(
        get_item=api.get_item,
        answer=bridge,
        on_error=problem_reply,
        draining=lambda: bool(drain),
        close=close,
        body_max_bytes=settings.http.body_max_bytes,
        body_timeout_s=settings.http.body_timeout_s,
        on_reply=lambda c, reply: with_cors(settings.cors, c.method, c.headers, reply),
    )


def _build_api(
    settings: Settings,
    shards: Shards,
    authenticator: Authenticator,
    oauth2: OAuth2,
    redis_answers: Callable[[], Awaitable[bool | None]],
    draining: Callable[[], bool],
) -> Api:
    timeout_s = settings.database.timeout_s
    replies = ItemReplies(settings.http.cache_control, settings.http.public_url)
    return Api(
        get_item=GetItem(authenticator.authenticate, shards, replies, timeout_s),
        change_item=ChangeItem(
            ItemWriter(shards, timeout_s), replies, settings.writes.require_if_match
        ),
        health=Health(shards, redis_answers, draining),
        oauth2=oauth2,
    )


def _built_in_issuer(auth: Auth, records: AccessRecords) -> BuiltInIssuer | None:
    """None where the settings say that our own issuer's tokens are signed by someone else."""
    if auth.jwks:
        return None
    return BuiltInIssuer(auth.issuer, auth.audience, auth.token_ttl_s, records)


def _key_sets(auth: Auth, issuer: BuiltInIssuer | None) -> dict[str, KeySet]:
    """Every trusted issuer's keys, by its ``iss``. Raises SettingsError."""
    key_sets = {}
    for entry in (*auth.issuers, *([(auth.issuer, auth.jwks)] if auth.jwks else [])):
        if len(entry) != 2:
            raise SettingsError("auth.issuers: each entry is an iss and where its key set is")
        name, jwks = entry
        source = HttpKeySource(jwks) if "://" in jwks else file_source(Path(jwks))
        key_sets[name] = KeySet(source, refresh_s=auth.jwks_refresh_s)
    if issuer is not None:
        key_sets[issuer.name] = KeySet(
            issuer.load, refresh_s=auth.jwks_refresh_s, cooldown_s=_OWN_KEYS_COOLDOWN_S
        )
    return key_sets


def _ping(redis: Redis | None, settings: Settings) -> Callable[[], Awaitable[bool | None]]:
    async def answers() -> bool | None:
        if redis is None:
            return None
        try:
            async with asyncio.timeout(settings.redis.timeout_s):
                await redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    return answers


application = Application(open_worker)
