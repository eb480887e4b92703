"""The composition root: the only file that builds things and ties them together.

Granian loads ``service.app:application`` in every worker; everything that holds a connection
is opened on that worker's own event loop and closed on it.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from service import setting_sources
from service.access.api_keys import ApiKeys
from service.access.credentials import Authenticator
from service.access.issuer import BuiltInIssuer
from service.access.key_set import KeySet
from service.access.key_sources import HttpKeySource, file_source
from service.access.limiter import SCRIPTS, Limiter
from service.access.peer import TrustedProxies
from service.access.tokens import TokenVerifier
from service.api.batch import Batch
from service.api.change_item import ChangeItem
from service.api.describe import openapi
from service.api.describe.docs import Docs
from service.api.finish import finished
from service.api.gate import Gate
from service.api.get_item import GetItem
from service.api.headers.deprecation import deprecation_fields
from service.api.list_items import ListItems
from service.api.oauth2 import OAuth2
from service.api.operator.health import Health
from service.api.operator.metrics import Metrics, samples
from service.api.represent.item_reply import ItemReplies
from service.api.represent.problem import problem_reply
from service.api.routes import ROUTES, Router, documented, endpoints
from service.cache import entries
from service.cache.entries import Entries
from service.cache.near import NearCache
from service.cache.pipeline import RedisPipeline
from service.cache.subscription import Subscription
from service.cache.troubles import troubles
from service.flow.byte_budget import Budgets
from service.http.robyn_bridge import RobynBridge, new_app
from service.http.rsgi import Application, Worker
from service.items.coherence import Coherence, Stored
from service.items.cursor import Cursors
from service.items.data_schema import DataSchema
from service.items.expiry import Expiry
from service.items.last_seen import LastSeen
from service.items.outbox import Outbox
from service.items.pages import Pages
from service.items.reader import Reader
from service.items.write import ItemWriter
from service.items.write_atomic import AtomicWriter
from service.items.write_policy import WritePolicy
from service.model.item_json import render
from service.model.rate import Rate
from service.model.resource import ITEMS
from service.observe.events import breaker_changed
from service.observe.requests import RequestCounts
from service.process.drain import DrainFlag
from service.process.kept_numbers import KeptNumbers
from service.setting_sources import SettingsError, declared_attributes
from service.settings import Auth, Settings
from service.store.access import AccessRecords
from service.store.list_reads import ListReads
from service.store.lists import read_cursor_key
from service.store.reads import Reads
from service.store.shards import Shards

T = TypeVar("T")
Part = TypeVar("Part", Expiry, Limiter, Metrics, Outbox)

# Our own database may be asked more often than someone's issuer.
_OWN_KEYS_COOLDOWN_S = 1.0


# What is added to it, as Robyn's own documentation has it, is served beside ROUTES: import it and
# ``application`` in a module of your own, and let Granian load that (docs/decisions/0095).
robyn_app = new_app()


async def open_worker() -> Worker:
    """Build one worker from the environment's settings. Raises SettingsError, ShardMapError."""
    settings, _ = setting_sources.load(os.environ)
    logging.basicConfig(level=settings.log.level.upper())
    drain = DrainFlag.inherited(os.environ)
    async with AsyncExitStack() as opened:
        shards = await _open_shards(settings, opened)
        first: dict[str, Any] = {"scripts": (*SCRIPTS, *entries.SCRIPTS), "probe": entries.PROBE}
        redis = await _open_redis("redis", settings.redis.url, settings, opened, **first)
        reads = Reads(settings.database, on_breaker=breaker_changed)
        near: NearCache[Stored] = NearCache(settings.near_cache.bytes)
        outbox, reader = await _open_cache(settings, shards, reads, redis, near, opened)
        url, second = settings.limits.redis_url, {"scripts": SCRIPTS}
        limits_redis = await _open_redis("redis-limits", url, settings, opened, **second)
        limiter = _started(Limiter(limits_redis or redis, settings.http.workers), opened)
        gate, oauth2, tokens = await _open_access(settings, shards, limiter, opened)
        deprecation = _checked("versions", partial(deprecation_fields, settings.versions))
        replies = _replies(settings, deprecation)
        writer, atomic = _writers(settings, shards, outbox)
        schema = _checked("data.schema", partial(DataSchema.in_file, settings.data.schema))
        rules = (settings.writes.require_if_match, settings.http.body_max_bytes, schema)
        changes = ChangeItem(writer, replies, *rules)
        batch = Batch(gate, reader, writer, atomic, *rules, settings.http.public_url)
        redis_troubles = partial(troubles, redis, near, limits_redis)
        health = Health(shards, reads.statuses, redis_troubles, drain.__bool__)
        lists, docs = _build_lists(settings, shards, reads), _docs(settings)
        requests = RequestCounts((route.path for route in ROUTES), hot_path=ITEMS.path(1, ":id"))
        budgets = Budgets.of(settings.memory)
        counting = (requests, shards, reader, reads, near, redis, limiter, budgets, tokens)
        metrics = _started(Metrics(partial(samples, *counting)), opened)
        get = GetItem(gate, reader, replies, drain.__bool__, requests.hot)
        ours = endpoints(get, changes, lists, batch, health, metrics, oauth2, docs)
        bridge = RobynBridge(robyn_app, problem_reply)
        router = Router(gate, ours, bridge.routes)
        through = bridge.around(router.enter, router.answer)
        return Worker(
            # Middleware sees all requests, or else nobody could rely on it.
            hot_get=None if bridge.has_middleware else get.hot,
            answer=through if bridge.has_middleware else router,
            on_error=problem_reply,
            draining=drain.__bool__,
            close=opened.pop_all().aclose,
            body_max_bytes=settings.http.body_max_bytes,
            batch_max_bytes=settings.http.batch_max_bytes,
            body_timeout_s=settings.http.body_timeout_s,
            on_reply=partial(finished, settings.cors, deprecation, requests),
            budgets=budgets,
            send_timeout_s=settings.http.send_timeout_s,
        )


def _started(part: Part, opened: AsyncExitStack) -> Part:
    opened.push_async_callback(part.close)
    part.start()
    return part


async def _open_shards(settings: Settings, opened: AsyncExitStack) -> Shards:
    kept = KeptNumbers.inherited(os.environ)
    opened.callback(kept.close)
    shards = Shards(settings.database, kept.values)
    opened.push_async_callback(shards.close)
    await shards.open()
    _started(Expiry(shards, settings.writes), opened)
    return shards


async def _open_redis(
    name: str, url: str, settings: Settings, opened: AsyncExitStack, **first: Any
) -> RedisPipeline | None:
    """None without a URL; ``first`` is what each connection begins with."""
    if not url:
        return None
    told = partial(breaker_changed, name)
    redis = RedisPipeline(url, timeout_s=settings.redis.timeout_s, on_breaker=told, **first)
    opened.push_async_callback(redis.close)
    await redis.open()
    return redis


async def _open_cache(
    settings: Settings,
    shards: Shards,
    reads: Reads,
    redis: RedisPipeline | None,
    near: NearCache[Stored],
    opened: AsyncExitStack,
) -> tuple[Outbox, Reader]:
    """Both sides of the cache protocol: who tells Redis of changes, and who reads from it."""
    kept = None
    if redis is not None:
        cache = settings.cache
        kept = Entries(
            redis, ttl_s=cache.ttl_s, max_age_s=cache.max_age_s, max_bytes=cache.max_bytes
        )
        messages = Subscription(
            settings.redis.url,
            entries.CHANNEL,
            near.invalidate,
            near.subscribed,
            timeout_s=settings.redis.timeout_s,
        )
        opened.push_async_callback(messages.close)
        await messages.open()
    outbox = _started(Outbox(shards.all, kept), opened)
    last_seen = LastSeen(asyncio.get_running_loop().time)
    coherence = Coherence(shards, reads, outbox, kept, last_seen, render)
    tick = (lambda: 0) if redis is None else (lambda: redis.tick)
    return outbox, Reader(coherence, kept, near, last_seen, tick, settings.database.timeout_s)


async def _open_access(
    settings: Settings, shards: Shards, limiter: Limiter, opened: AsyncExitStack
) -> tuple[Gate, OAuth2, TokenVerifier]:
    """Who may, and how often; the control tables are on the first shard."""
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
    proxies = _checked("http.trusted_proxies", partial(TrustedProxies, http.trusted_proxies))
    oauth2 = OAuth2(issuer, records, http.public_url or auth.issuer, list(key_sets))
    gate = Gate(authenticator, limiter, rate, proxies, trusts_local=http.open_metrics)
    return gate, oauth2, tokens


def _writers(settings: Settings, shards: Shards, outbox: Outbox) -> tuple[ItemWriter, AtomicWriter]:
    policy = WritePolicy(shards, settings.database.timeout_s)
    shared = (shards, outbox, policy, settings.writes.idempotency_ttl_s)
    return ItemWriter(*shared), AtomicWriter(*shared)


def _replies(settings: Settings, deprecation: list[tuple[str, str]]) -> ItemReplies:
    return ItemReplies(
        settings.http.cache_control,
        settings.http.public_url,
        cors=bool(settings.cors.allowed_origins),
        deprecation=deprecation,
    )


def _build_lists(settings: Settings, shards: Shards, reads: Reads) -> ListItems:
    declared = frozenset(declared_attributes(settings))
    most = settings.lists.connections or max(1, settings.database.pool_size // 2)
    list_reads = ListReads(reads.guards, most)
    timeout_s, per_caller = settings.database.timeout_s, settings.lists.per_caller
    return ListItems(
        Pages(shards, list_reads, declared, timeout_s, per_caller),
        Cursors(partial(read_cursor_key, list_reads, shards.all[0])),
        declared,
        settings.http.cache_control,
        settings.http.public_url,
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
        key_sets[name] = KeySet(source, refresh_s=auth.refresh_s)
    if issuer is not None:
        key_sets[issuer.name] = KeySet(
            issuer.load, refresh_s=auth.refresh_s, cooldown_s=_OWN_KEYS_COOLDOWN_S
        )
    return key_sets


def _docs(settings: Settings) -> Docs:
    return Docs(orjson.dumps(openapi.build(documented(), settings)))


def _checked(name: str, make: Callable[[], T]) -> T:
    """What is made of the setting. Raises SettingsError."""
    try:
        return make()
    except (ValueError, OSError) as error:
        raise SettingsError(f"{name}: {error}") from None


application = Application(open_worker)
