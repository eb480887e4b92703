"""API keys (``X-API-Key``): what one looks like, and the worker's memory of looked-up ones.

A key is 256 random bits, so its plain SHA-256 can be stored: salt and slow hashing protect only
against guesses from a list of likely keys, and there is none.
"""

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from service.access.tokens import words
from service.flow.deadline import within
from service.model.caller import Caller
from service.model.errors import AccessUnavailable, InvalidApiKey
from service.model.rate import Rate
from service.observe.logs import fields
from service.store.access import ApiKey

logger = logging.getLogger(__name__)

# While look-ups fail there is one a second per key, and a failure counts for this long.
RETRY_S = 1.0
OUTAGE_S = 5.0
# Bounds for running and waiting look-ups, because they share the first shard's connections with
# writes; a request beyond them, or one that waits for longer, gets AccessUnavailable.
_LOOK_UPS, _WAITING, _PATIENCE_S = 4, 100, 2.0
_MAX_ENTRIES = 10_000
_PREFIX = "hsk_"
_SHAPE = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")

Find = Callable[[bytes], Awaitable[ApiKey | None]]


def new_key() -> tuple[str, str, bytes]:
    """A key's public id, the key itself (to be shown once), and the hash to store."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return secrets.token_hex(6), key, secret_hash(key)


def secret_hash(secret: str) -> bytes:
    """What is stored of an API key or client secret."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(slots=True)
class _Known:
    """``caller`` None: there is no such key. Times are the monotonic clock's."""

    caller: Caller | None
    looked_up_s: float
    next_look_up_s: float = float("-inf")
    failed_s: float = float("-inf")


class ApiKeys:
    """Who an API key stands for.

    A look-up is valid for ``refresh_s`` seconds; after half of that the next request starts another
    one in the background, so no request waits for a key in use, and a revoked key ends in time.
    While the database cannot be reached, known keys stay valid and only unknown ones are refused
    (AccessUnavailable). Keys that do not exist are remembered separately, so that guesses evict no
    valid key.
    """

    def __init__(
        self, find: Find, refresh_s: float = 30.0, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._refresh_s = refresh_s
        self._now_s = now_s
        self._good: dict[str, _Known] = {}
        self._bad: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_LOOK_UPS)

    def recall(self, key: str) -> Caller | None:
        """The caller if known without waiting, else None. Raises InvalidApiKey."""
        known = self._good.get(key) or self._bad.get(key)
        if known is None:
            if _SHAPE.fullmatch(key) is None:
                raise InvalidApiKey("The API key is not valid.")
            return None
        now_s = self._now_s()
        age_s = now_s - known.looked_up_s
        if age_s >= self._refresh_s and now_s - known.failed_s >= OUTAGE_S:
            return None
        if age_s >= self._refresh_s / 2 and now_s >= known.next_look_up_s:
            known.next_look_up_s = now_s + RETRY_S
            self._look_up(key)
        if known.caller is None:
            raise InvalidApiKey("The API key is not valid.")
        return known.caller

    async def caller(self, key: str) -> Caller:
        """The caller, looked up if need be. Raises InvalidApiKey, AccessUnavailable."""
        known = self.recall(key)
        if known is not None:
            return known
        if key in self._looking or len(self._looking) < _WAITING:
            with suppress(TimeoutError):
                await within(_PATIENCE_S, _waited_for(self._look_up(key)))
        known = self.recall(key)
        if known is None:
            raise AccessUnavailable("The API key cannot be checked.", retry_after_s=1)
        return known

    def _look_up(self, key: str) -> asyncio.Task[None]:
        task = self._looking.get(key)
        if task is None:
            task = self._looking[key] = asyncio.create_task(self._query(key))
        return task

    async def _query(self, key: str) -> None:
        asked_s = self._now_s()
        try:
            async with self._slots:
                found = await self._find(secret_hash(key))
        except Exception as error:  # known keys stay valid whatever fails
            logger.warning("api-key-not-looked-up", **fields(reason=type(error).__name__))
            known = self._good.get(key)
            if known is not None:
                known.failed_s = self._now_s()
                known.next_look_up_s = known.failed_s + RETRY_S
            return
        finally:
            del self._looking[key]
        self._good.pop(key, None)
        self._bad.pop(key, None)
        if found is None:
            _remember(self._bad, key, _Known(None, asked_s))
        else:
            account = f"key:{found.id}"
            rate = Rate(found.quota, found.window_s) if found.quota and found.window_s else None
            caller = Caller(found.owner_id, words(found.scope), account, rate)
            _remember(self._good, key, _Known(caller, asked_s))


async def _waited_for(look_up: asyncio.Task[None]) -> None:
    """Wait for a shared look-up; cancelling one waiter does not cancel it for the others."""
    await asyncio.shield(look_up)


def _remember(entries: dict[str, _Known], key: str, known: _Known) -> None:
    entries[key] = known
    if len(entries) > _MAX_ENTRIES:
        del entries[next(iter(entries))]
