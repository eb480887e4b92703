"""The composition root: the only module that builds the parts and connects them.

Granian loads ``service.app:application`` in every worker; everything that holds a connection
is opened on that worker's own event loop and closed on it.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

import orjson

from service import setting_sources
from service.access.limiter import SCRIPTS, Limiter
from service.api.batch import Batch
from service.api.change_item import ChangeItem
from service.api.describe import openapi
from service.api.describe.docs import Docs
from service.api.get_item import GetItem
from service.api.headers.deprecation import deprecation_fields
from service.api.list_items import ListItems
from service.api.operator.health import Health
from service.api.operator.samples import Parts
from service.api.public_url import PublicUrl
from service.api.represent.item_reply import ItemReplies
from service.api.represent.problem import problem_reply
from service.api.routes import Router, documented, endpoints
from service.cache import entries
from service.cache.degradations import degradations
from service.cache.entries import Entries
from service.cache.near import NearCache
from service.cache.pipeline import RedisPipeline
from service.cache.subscription import Subscription
from service.compose.access import open_access, trusted_proxies
from service.compose.checked import checked
from service.compose.collections import open_collections
from service.compose.observation import Observation
from service.flow.byte_budget import Budgets
from service.http.robyn_bridge import RobynBridge, new_app
from service.http.rsgi import Application, Worker
from service.items.coherence import Coherence, Stored
from service.items.collection_indexes import CollectionIndexes
from service.items.collections import Collections
from service.items.cursor import Cursors
from service.items.expiry import Expiry
from service.items.last_seen import LastSeen
from service.items.outbox import Outbox
from service.items.pages import Pages
from service.items.reader import Reader
from service.items.visible_reader import VisibleReader
from service.items.write import ItemWriter
from service.items.write_atomic import AtomicWriter
from service.items.write_policy import WritePolicy
from service.model.item_json import render
from service.observe.events import breaker_changed
from service.process.drain import DrainFlag
from service.process.kept_numbers import KeptNumbers
from service.settings import Settings
from service.store.list_reads import ListReads
from service.store.lists import read_cursor_key
from service.store.reads import Reads
from service.store.shards import Shards

T = TypeVar("T")
Part = TypeVar("Part", Expiry, Limiter, Outbox)

# Handlers and middleware added to it as Robyn documents are served beside ROUTES: import it and
# ``application`` in a module of your own, and let Granian load that (docs/decisions/0095).
robyn_app = new_app()


async def open_worker() -> Worker:
    """Build one worker from the environment's settings. Raises SettingsError, ShardMapError."""
    settings, _ = setting_sources.load(os.environ)
    drain = DrainFlag.inherited(os.environ)
    async with AsyncExitStack() as opened:
        observation = Observation(settings, opened)
        shards = await _open_shards(settings, opened)
        redis, limits_redis = await _open_redis(settings, opened)
        reads = Reads(settings.database, on_breaker=breaker_changed)
        near: NearCache[Stored] = NearCache(settings.near_cache.bytes)
        outbox, reader = await _open_cache(settings, shards, reads, redis, near, opened)
        limiter, budgets = _limiter(settings, limits_redis, opened), Budgets.of(settings.memory)
        proxies = trusted_proxies(settings.http)
        public_url = PublicUrl(settings.http.public_url, proxies)
        gate, oauth2, tokens = await open_access(settings, shards, limiter, proxies, opened)
        deprecation = checked("versions", partial(deprecation_fields, settings.versions))
        replies = _replies(settings, public_url, deprecation)
        collections, indexes, kinds = await open_collections(settings, shards, public_url, opened)
        visible = VisibleReader(reader, collections)
        writer, atomic = _writers(settings, shards, outbox, budgets)
        rules = (settings.writes.require_if_match, settings.http.body_max_bytes, collections)
        changes = ChangeItem(writer, replies, *rules)
        batch = Batch(gate, visible, writer, atomic, *rules, public_url)
        degraded = partial(degradations, redis, near, limits_redis)
        health = Health(shards, reads.statuses, degraded, drain.__bool__)
        lists = _build_lists(settings, shards, reads, replies, indexes)
        docs = _docs(settings, collections)
        parts = Parts(*(reader, reads, near, redis, limits_redis, limiter, shards), budgets, tokens)
        metrics, status = await observation.look(parts, health)
        hot = (drain.read, observation.access_log, settings.limits.fields == "always")
        get = GetItem(gate, reader, visible, collections, replies, *hot, settings.native.hits)
        finish = observation.finish(deprecation)
        ours = endpoints(get, changes, lists, batch, kinds, health, metrics, oauth2, docs, status)
        bridge = RobynBridge(robyn_app, problem_reply)
        router = Router(gate, collections, ours, bridge.routes)
        through = bridge.around(router.enter, router.answer)
        return Worker(
            # No hot path then, because middleware has to see every request.
            hot_get=None if bridge.has_middleware or finish.always_timing else get.hot,
            answer=through if bridge.has_middleware else router,
            on_error=problem_reply,
            draining=drain.__bool__,
            close=opened.pop_all().aclose,
            body_max_bytes=settings.http.body_max_bytes,
            batch_max_bytes=settings.http.batch_max_bytes,
            body_timeout_s=settings.http.body_timeout_s,
            on_reply=finish,
            budgets=budgets,
            send_timeout_s=settings.http.send_timeout_s,
        )


def _started(part: Part, opened: AsyncExitStack) -> Part:
    opened.push_async_callback(part.close)
    part.start()
    return part


def _limiter(settings: Settings, redis: RedisPipeline | None, opened: AsyncExitStack) -> Limiter:
    held_bytes = settings.memory.limiter_max_bytes
    return _started(Limiter(redis, settings.http.workers, held_bytes), opened)


async def _open_shards(settings: Settings, opened: AsyncExitStack) -> Shards:
    kept = KeptNumbers.inherited(os.environ)
    opened.callback(kept.close)
    shards = Shards(settings.database, kept.values)
    opened.push_async_callback(shards.close)
    await shards.open()
    _started(Expiry(shards, settings.writes), opened)
    return shards


async def _open_redis(
    settings: Settings, opened: AsyncExitStack
) -> tuple[RedisPipeline | None, RedisPipeline | None]:
    """The cache's Redis and the limits', which may be the same; None where there is none."""

    async def at(name: str, url: str, **first: Any) -> RedisPipeline | None:
        if not url:
            return None
        told = partial(breaker_changed, name)
        redis = RedisPipeline(url, timeout_s=settings.redis.timeout_s, on_breaker=told, **first)
        opened.push_async_callback(redis.close)
        await redis.open()
        return redis

    scripts = (*SCRIPTS, *entries.SCRIPTS)
    cache = await at("redis", settings.redis.url, scripts=scripts, probe=entries.PROBE)
    limits = await at("redis-limits", settings.limits.redis_url, scripts=SCRIPTS)
    return cache, limits or cache


async def _open_cache(
    settings: Settings,
    shards: Shards,
    reads: Reads,
    redis: RedisPipeline | None,
    near: NearCache[Stored],
    opened: AsyncExitStack,
) -> tuple[Outbox, Reader]:
    """Both sides of the cache protocol: invalidations in Redis, and reads through it."""
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


def _writers(
    settings: Settings, shards: Shards, outbox: Outbox, budgets: Budgets
) -> tuple[ItemWriter, AtomicWriter]:
    timeout_s, body_max_bytes = settings.database.timeout_s, settings.http.body_max_bytes
    policy = WritePolicy(shards, timeout_s, budgets.patches, body_max_bytes)
    shared = (shards, outbox, policy, settings.writes.idempotency_ttl_s)
    return ItemWriter(*shared), AtomicWriter(*shared)


def _replies(
    settings: Settings, public_url: PublicUrl, deprecation: list[tuple[str, str]]
) -> ItemReplies:
    return ItemReplies(
        settings.http.cache_control,
        public_url,
        cors=bool(settings.cors.allowed_origins),
        deprecation=deprecation,
        shared_max_age_s=settings.http.shared_max_age_s,
    )


def _build_lists(
    settings: Settings,
    shards: Shards,
    reads: Reads,
    replies: ItemReplies,
    indexes: CollectionIndexes,
) -> ListItems:
    most = settings.lists.connections or max(1, settings.database.pool_size // 2)
    list_reads = ListReads(reads.bulkheads, most)
    timeout_s, per_caller = settings.database.timeout_s, settings.lists.per_caller
    return ListItems(
        Pages(shards, list_reads, timeout_s, per_caller),
        Cursors(partial(read_cursor_key, list_reads, shards.all[0])),
        replies,
        indexes,
    )


def _docs(settings: Settings, collections: Collections) -> Docs:
    def document() -> bytes:
        return orjson.dumps(openapi.build(documented(), settings, collections.besides_items()))

    docs = Docs(document)
    collections.on_change.append(docs.outdate)
    return docs


application = Application(open_worker)
