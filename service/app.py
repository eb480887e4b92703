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

from service import settings as setting_sources
from service.access.credentials import Authenticator
from service.access.key_set import Keys, parse_jwks
from service.access.tokens import TokenVerifier
from service.api.change_item import ChangeItem
from service.api.get_item import GetItem
from service.api.health import Health
from service.api.item_reply import ItemReplies
from service.api.problem import problem_reply
from service.api.routes import Api, build_app
from service.flow.drain import DrainFlag
from service.http.robyn_bridge import RobynBridge, import_robyn
from service.http.rsgi import Application, Worker
from service.items.write import ItemWriter
from service.settings import Auth, Settings
from service.store.shards import Shards


async def open_worker() -> Worker:
    """Build one worker from the environment's settings. Raises SettingsError, ShardMapError."""
    settings, _ = setting_sources.load(os.environ)
    logging.basicConfig(level=settings.log.level.upper())
    shards = Shards(settings.database)
    await shards.open()
    redis = Redis.from_url(settings.redis.url) if settings.redis.url else None
    authenticator = Authenticator(_token_verifier(settings.auth))
    drain = DrainFlag.inherited(os.environ)
    api = _build_api(settings, shards, authenticator, _ping(redis, settings), lambda: bool(drain))
    bridge = RobynBridge(build_app(import_robyn(), api, authenticator.authenticate), problem_reply)

    async def close() -> None:
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
    )


def _build_api(
    settings: Settings,
    shards: Shards,
    authenticator: Authenticator,
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
    )


def _token_verifier(settings: Auth) -> TokenVerifier:
    keys: Keys = parse_jwks(Path(settings.jwks).read_bytes()) if settings.jwks else {}
    return TokenVerifier({settings.issuer: keys}, settings.audience, settings.leeway_s)


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
