"""Where the bytes of an item are: near cache, Redis, or one of the slow ways.

``Reader.find`` is a plain function as far as one reply of Redis is all there is to wait for;
only the other ways (items/coherence.py) become tasks.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from service.cache.entries import Entries
from service.cache.layout import ITEM, MARKER, PERMIT, ItemEntry, numbers_of
from service.cache.near import NearCache
from service.flow.deadline import within
from service.items.coherence import Coherence, Found, Stored, Waiter, Waiters, Way, owners
from service.model.errors import (
    CacheUnavailable,
    DatabaseTimeout,
    Overloaded,
)
from service.observe.tracing import current

LARGE_BYTES = 1024


class _Get:
    """A GET that has not been written yet: who asks for the same id in its tick joins it.

    ``trusted`` is whether a lease of trust lived when it was asked for.
    """

    __slots__ = ("context", "ticket", "trusted", "waiters")

    def __init__(self, ticket: int, trusted: bool) -> None:
        self.ticket = ticket
        self.trusted = trusted
        self.waiters: Waiters = []
        # Of the first of them whose request is traced.
        self.context: Context | None = None


class Reader:
    """Finds items for one worker; belongs to its event loop.

    ``entries`` None: there is no Redis, and every read asks a database. ``tick`` is the
    pipeline's number of the write being gathered.
    """

    def __init__(
        self,
        coherence: Coherence,
        entries: Entries | None,
        near: NearCache[Stored],
        tick: Callable[[], int],
        timeout_s: float,
    ) -> None:
        self._coherence = coherence
        self._is_behind = coherence.is_behind
        self._entries = entries
        self._near = near
        self._tick = tick
        self._timeout_s = timeout_s
        self._gets: dict[bytes, _Get] = {}
        self._gets_tick = -1
        self._tasks: set[asyncio.Task[None]] = set()
        # How many reads ended where, for metrics.
        self.from_near = self.not_near = self._from_redis = 0

    def near(self, item_id: bytes, subject: str) -> Stored | None:
        """What this worker has at hand for ``subject``, who asks.

        An item's owner is never answered from what may be behind.
        """
        stored = self._near.get(item_id)
        if stored is None:
            return None
        entry = stored.entry
        if entry.owner_id == subject or self._is_behind(item_id, entry.epoch, entry.version):
            return None
        return stored

    def find(self, item_id: bytes, subject: str, waiter: Waiter) -> Stored | None:
        """``near``; else None, and ``waiter`` is called exactly once, later."""
        near = self.near(item_id, subject)
        if near is not None:
            self.from_near += 1
            return near
        self.not_near += 1
        tick = self._tick()
        if self._gets_tick != tick:
            self._gets_tick, self._gets = tick, {}
        get = self._gets.get(item_id)
        if get is None:
            get = _Get(self._near.ticket(), self._coherence.trusts(item_id))
            self._gets[item_id] = get
            self._ask_redis(item_id, get)
        get.waiters.append((subject, waiter))
        if current() is not None and get.context is None:
            get.context = copy_context()
        return None

    @property
    def from_redis(self) -> int:
        """How many reads an entry in Redis answered."""
        return self._from_redis + self._coherence.from_redis

    async def found(self, item_id: bytes, subject: str) -> Stored | None:
        """``find`` for coroutines. Raises ShardUnavailable, DatabaseTimeout, Overloaded."""
        return (await self.found_where(item_id, subject))[0]

    async def found_where(self, item_id: bytes, subject: str) -> tuple[Stored | None, str]:
        """As ``found``, and what answered: near, redis, replica, primary; empty for no item."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        near = self.find(item_id, subject, partial(_settle, future))
        if near is not None:
            return near, "near"
        found = await future
        if isinstance(found, Exception):
            raise found
        return found, "" if found is None else found.source

    def _ask_redis(self, item_id: bytes, get: _Get) -> None:
        try:
            if self._entries is None:
                raise CacheUnavailable("There is no Redis.")
            self._entries.get(item_id, partial(self._replied, item_id, get))
        except (CacheUnavailable, Overloaded):
            del self._gets[item_id]
            self._start(self._coherence.without_redis, item_id, get.waiters)

    def _replied(self, item_id: bytes, get: _Get, reply: Any) -> None:
        """What GET returned decides: answer now, or which way on."""
        if isinstance(reply, CacheUnavailable):
            self._start(self._coherence.without_redis, item_id, get.waiters, get.context)
            return
        kind = self._coherence.kind(item_id, reply)
        if kind in (0, MARKER, PERMIT):
            self._start(partial(self._coherence.after, reply), item_id, get.waiters, get.context)
        elif self._is_behind(item_id, *numbers_of(reply)):
            self._start(self._coherence.of_primary, item_id, get.waiters, get.context)
        else:
            self._tell(item_id, self._believed(item_id, kind, reply, get.ticket), get)

    def _believed(self, item_id: bytes, kind: int, value: bytes, ticket: int) -> Stored | None:
        """What an entry stands for; the near cache takes it where no message spoke against it."""
        if kind != ITEM:
            return None
        stored = Stored(ItemEntry(value), "redis")
        # A large body will be kept packed as well.
        size = len(value) if len(value) < LARGE_BYTES else 2 * len(value)
        self._near.store(item_id, ticket, stored, size)
        if self._entries is not None:
            self._entries.slide(item_id, stored.entry)
        return stored

    def _tell(self, item_id: bytes, found: Stored | None, get: _Get) -> None:
        """Answer all but owners without a lease of trust, who ask the primary."""
        doubtful = [] if get.trusted else owners(found, get.waiters)
        if doubtful:
            self._start(self._coherence.of_primary, item_id, doubtful, get.context)
        self._from_redis += len(get.waiters) - len(doubtful)
        for who in get.waiters:
            if who not in doubtful:
                who[1](found)

    def _start(
        self, way: Way, item_id: bytes, waiters: Waiters, context: Context | None = None
    ) -> None:
        task = asyncio.create_task(self._run(way, item_id, waiters), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, way: Way, item_id: bytes, waiters: Waiters) -> None:
        found: Found
        try:
            found = await within(self._timeout_s, way(item_id, waiters))
        except TimeoutError:
            found = DatabaseTimeout("The database took too long.", retry_after_s=1)
        except Exception as error:
            found = error
        for _, waiter in waiters:
            waiter(found)


def _settle(future: asyncio.Future[Found], found: Found) -> None:
    if not future.done():
        future.set_result(found)
