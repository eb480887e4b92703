"""Reads an item from the near cache, Redis, or a database.

A read that waits only for one reply of Redis is plain function calls; only a longer one
(items/coherence.py) becomes a task.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from service.cache.entries import Entries
from service.cache.layout import FILL_LEASE, INVALIDATION, ITEM, ItemEntry, numbers_of
from service.cache.near import NearCache
from service.flow.deadline import within
from service.items.coherence import Coherence, Get, Result, Stored, Waiter, Waiters, owners
from service.items.last_seen import LastSeen
from service.model.errors import CacheUnavailable, DatabaseTimeout, Overloaded
from service.observe.instruments import Count
from service.observe.tracing import current

LARGE_BYTES = 1024


class _SharedGet:
    """One GET command that is not sent yet, and the reads that wait for its reply.

    ``owners_too``: there was a read lease when it was made, so owners may trust the reply.
    """

    __slots__ = ("context", "owners_too", "ticket", "waiters")

    def __init__(self, ticket: int, owners_too: bool) -> None:
        self.ticket = ticket
        self.owners_too = owners_too
        self.waiters: Waiters = []
        # That of the first traced request among them.
        self.context: Context | None = None


class Reader:
    """Gets items for one worker; belongs to its event loop.

    ``entries`` None: there is no Redis, and every read queries a database. ``tick`` is the
    pipeline's number of the write being collected.
    """

    def __init__(
        self,
        coherence: Coherence,
        entries: Entries | None,
        near: NearCache[Stored],
        last_seen: LastSeen,
        tick: Callable[[], int],
        timeout_s: float,
    ) -> None:
        self._coherence = coherence
        self._entries = entries
        self.near = near
        self.last_seen = last_seen
        self._tick = tick
        self._timeout_s = timeout_s
        self._gets: dict[bytes, _SharedGet] = {}
        self._gets_tick = -1
        self._tasks: set[asyncio.Task[None]] = set()
        # Reads by their source, for metrics.
        self.near_hits = Count()
        self.not_near = self._from_redis = 0

    @property
    def from_near(self) -> float:
        return self.near_hits.value

    @property
    def from_redis(self) -> int:
        """Reads that an entry in Redis answered."""
        return self._from_redis + self._coherence.from_redis

    async def get(self, item_id: bytes, subject: str) -> Stored | None:
        """The item, or None if there is none; ``subject`` is the caller's.

        Raises ShardUnavailable, DatabaseTimeout, Overloaded.
        """
        return (await self.get_where(item_id, subject))[0]

    async def get_where(self, item_id: bytes, subject: str) -> tuple[Stored | None, str]:
        """As ``get``, and the source: near, redis, replica, primary; empty for no item."""
        stored = self.get_near(item_id, subject)
        if stored is not None:
            return stored, "near"
        stored = await self.get_remote(item_id, subject)
        return stored, "" if stored is None else stored.source

    def get_near(self, item_id: bytes, subject: str) -> Stored | None:
        """The near cache's item for ``subject``; call it once per read, because it counts reads.

        An item's owner is never answered from it, because it may be behind an acknowledged write.
        """
        stored = self.near.get(item_id)
        if stored is not None:
            entry = stored.entry
            if entry.owner_id != subject and not self.last_seen.is_behind(
                item_id, entry.epoch, entry.version
            ):
                self.near_hits.value += 1
                return stored
        self.not_near += 1
        return None

    async def get_remote(self, item_id: bytes, subject: str) -> Stored | None:
        """``get`` after ``get_near``: from Redis or a database. Raises as ``get`` does."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._join(item_id, subject, partial(_settle, future))
        result = await future
        if isinstance(result, Exception):
            raise result
        return result

    async def get_primary(self, item_id: bytes) -> Stored | None:
        """What was acknowledged last, past all caches. Raises as ``get`` does."""
        try:
            reading = self._coherence.get_from_primary(item_id, [])
            return await within(self._timeout_s, reading)
        except TimeoutError:
            raise DatabaseTimeout from None

    def _join(self, item_id: bytes, subject: str, waiter: Waiter) -> None:
        """Wait for this tick's GET of the item; ``waiter`` is called exactly once, later."""
        tick = self._tick()
        if self._gets_tick != tick:
            self._gets_tick, self._gets = tick, {}
        get = self._gets.get(item_id)
        if get is None:
            get = _SharedGet(self.near.ticket(), self._coherence.has_read_lease(item_id))
            self._gets[item_id] = get
            self._send(item_id, get)
        get.waiters.append((subject, waiter))
        if current() is not None and get.context is None:
            get.context = copy_context()

    def _send(self, item_id: bytes, get: _SharedGet) -> None:
        try:
            if self._entries is None:
                raise CacheUnavailable("There is no Redis.")
            self._entries.get(item_id, partial(self._replied, item_id, get))
        except (CacheUnavailable, Overloaded):
            del self._gets[item_id]
            self._start(self._coherence.get_without_redis, item_id, get.waiters, get.context)

    def _replied(self, item_id: bytes, get: _SharedGet, reply: Any) -> None:
        """Answer with the entry, or continue if it is not one or may not be trusted."""
        if isinstance(reply, CacheUnavailable):
            self._start(self._coherence.get_without_redis, item_id, get.waiters, get.context)
            return
        kind = self._coherence.kind(item_id, reply)
        if kind in (0, INVALIDATION, FILL_LEASE):
            fill = partial(self._coherence.get_and_fill, reply)
            self._start(fill, item_id, get.waiters, get.context)
        elif self.last_seen.is_behind(item_id, *numbers_of(reply)):
            self._start(self._coherence.get_from_primary, item_id, get.waiters, get.context)
        else:
            stored = self._keep(item_id, reply, get.ticket) if kind == ITEM else None
            self._answer(item_id, stored, get)

    def _keep(self, item_id: bytes, value: bytes, ticket: int) -> Stored:
        """The entry, also stored in the near cache unless it was invalidated meanwhile."""
        stored = Stored(ItemEntry(value), "redis")
        # A large body will be kept compressed too.
        size = len(value) if len(value) < LARGE_BYTES else 2 * len(value)
        self.near.store(item_id, ticket, stored, size)
        assert self._entries is not None
        self._entries.slide(item_id, stored.entry)
        return stored

    def _answer(self, item_id: bytes, stored: Stored | None, get: _SharedGet) -> None:
        """Answer all waiters but owners without a read lease, which read from the primary."""
        doubtful = [] if get.owners_too else owners(stored, get.waiters)
        if doubtful:
            self._start(self._coherence.get_from_primary, item_id, doubtful, get.context)
        self._from_redis += len(get.waiters) - len(doubtful)
        for asking in get.waiters:
            if asking not in doubtful:
                asking[1](stored)

    def _start(
        self, get: Get, item_id: bytes, waiters: Waiters, context: Context | None = None
    ) -> None:
        task = asyncio.create_task(self._run(get, item_id, waiters), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, get: Get, item_id: bytes, waiters: Waiters) -> None:
        result: Result
        try:
            result = await within(self._timeout_s, get(item_id, waiters))
        except TimeoutError:
            result = DatabaseTimeout("The database took too long.", retry_after_s=1)
        except Exception as error:
            result = error
        for _, waiter in waiters:
            waiter(result)


def _settle(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
