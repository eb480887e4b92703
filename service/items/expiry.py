"""Deletes idempotency records, tombstones and items after their time.

Every worker runs it; per shard only one does at a time. docs/operations.md has the cost.
"""

import asyncio
import logging
import random
from functools import partial

from service.flow.deadline import within
from service.model.errors import HotshelfError
from service.observe.logs import fields
from service.settings import Writes
from service.store.expiry import end_items, expire_records, purge_tombstones
from service.store.shards import Shard, Shards

logger = logging.getLogger(__name__)

INTERVAL_S = 60.0
BATCH = 500
# Pause between two batches, so that they do not delay requests of the shard.
_PAUSE_S = 0.2
_TIMEOUT_S = 5.0
# A record is valid by its age alone. It is deleted an hour later, so that no valid record is
# deleted.
MARGIN_S = 3600.0


class Expiry:
    """The background task of one worker. ``margin_s`` is how much longer records are stored."""

    def __init__(
        self,
        shards: Shards,
        writes: Writes,
        interval_s: float = INTERVAL_S,
        margin_s: float = MARGIN_S,
    ) -> None:
        self._shards = shards
        self._records_s = writes.idempotency_ttl_s + margin_s
        self._tombstones_s = float(writes.tombstone_ttl_s)
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def sweep(self, shard: Shard) -> int:
        """Delete everything that is due in a shard; returns the number of rows."""
        removed = 0
        for remove in (
            partial(expire_records, older_than_s=self._records_s),
            partial(purge_tombstones, older_than_s=self._tombstones_s),
            end_items,
        ):
            batch = BATCH
            while batch == BATCH:
                batch = await within(_TIMEOUT_S, remove(shard, limit=BATCH))
                removed += batch
                if batch:
                    await asyncio.sleep(_PAUSE_S)
        return removed

    async def _run(self) -> None:
        while True:
            # Random, because workers that start together would otherwise all try at once.
            await asyncio.sleep(random.uniform(0.5, 1.5) * self._interval_s)  # noqa: S311
            for shard in self._shards.all:
                try:
                    await self.sweep(shard)
                except (HotshelfError, TimeoutError) as error:
                    reason = type(error).__name__
                    logger.warning("expiry", **fields(shard=shard.number, reason=reason))
