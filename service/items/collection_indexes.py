"""Which declared attributes of collections have their indexes, and the building of the others.

Every worker looks; whichever takes a shard's lock builds there. Requests go on meanwhile.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from service.flow.deadline import within
from service.items.collections import Collections
from service.model.collection import ITEMS_NUMBER, Collection
from service.model.errors import HotshelfError, Location, NotYetIndexed
from service.model.query import INDEXED, Path, Query, format_path
from service.observe.logs import fields
from service.settings import Database
from service.store.collection_indexes import IndexBuild, ShardIndexes, index_name, read_indexes
from service.store.shards import Shards

logger = logging.getLogger(__name__)

_TIMEOUT_S = 1.0
# While something is to be built, and otherwise, for what somebody else has changed.
_BUSY_S: Final = 1.0
_IDLE_S: Final = 60.0
_CANCEL_EVERY_S = 0.1


class Progress(dict[Path, tuple[int, int]]):
    """Of each attribute, in how many partitions of all shards its index is, and of how many."""

    @classmethod
    def of(cls, collection: Collection, shards: Mapping[int, ShardIndexes]) -> "Progress":
        """All declared attributes, by what the shards said."""
        total = sum(shard.partitions for shard in shards.values())
        named = {path: index_name(collection.number, path) for path in _attributes(collection)}
        return cls(
            {
                path: (sum(shard.built.get(name, 0) for shard in shards.values()), total)
                for path, name in named.items()
            }
        )


class CollectionIndexes:
    """One worker's view of the indexes. ``settings`` say where the shards are."""

    def __init__(self, collections: Collections, shards: Shards, settings: Database) -> None:
        self.collections = collections
        self._shards = shards
        self._settings = settings
        self._known: dict[int, ShardIndexes] = {}
        self._builds: dict[int, tuple[IndexBuild, asyncio.Task[bool]]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        collections.on_change.append(self._changed.set)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what is being built is cancelled, and goes on in another worker."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        for build, running in self._builds.values():
            while not running.done():
                build.cancel()
                await asyncio.wait({running}, timeout=_CANCEL_EVERY_S)

    def missing(self, collection: Collection) -> frozenset[Path]:
        """The declared attributes that lists cannot use yet."""
        return frozenset(
            path
            for path in _attributes(collection)
            if not self._is_valid(index_name(collection.number, path))
        )

    def built(self, collection: Collection) -> frozenset[Path]:
        """The declared attributes that lists can use."""
        return frozenset(collection.definition.attributes) - self.missing(collection)

    async def progress(self, collection: Collection) -> Progress:
        """How far each attribute is, asked of all shards now. Raises as ``read_indexes``."""
        return Progress.of(collection, await self._read())

    def check_built(self, query: Query, collection: Collection, sort_location: Location) -> None:
        """Raises NotYetIndexed for a list that needs an index which is not there yet."""
        missing = self.missing(collection)
        needed = {one.path: one.where for one in query.conditions if one.operator in INDEXED[1:]}
        needed[query.sort.path] = sort_location
        if missing.isdisjoint(needed):
            return
        progress = Progress.of(collection, self._known)
        path = min(missing & needed.keys())
        done, total = progress[path]
        detail = f"The index of {format_path(path)} is being built."
        location = replace(needed[path], detail="has no index yet")
        raise NotYetIndexed(detail, location, extra={"done": done, "total": total})

    def _is_valid(self, name: str) -> bool:
        # A shard that has not answered yet refuses the list itself.
        return all(name in shard.valid for shard in self._known.values())

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                self._known = await self._read()
                self._build_missing()
            except (HotshelfError, TimeoutError) as error:
                logger.debug("indexes", **fields(reason=type(error).__name__))
            pause_s = _IDLE_S if self._is_settled() else _BUSY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _read(self) -> dict[int, ShardIndexes]:
        shards = self._shards.all
        found = await asyncio.gather(*(within(_TIMEOUT_S, read_indexes(s)) for s in shards))
        return dict(enumerate(found))

    def _build_missing(self) -> None:
        for number in [n for n, (_, running) in self._builds.items() if running.done()]:
            _, ended = self._builds.pop(number)
            if (error := ended.exception()) is not None:
                logger.warning("indexes", **fields(shard=number, reason=type(error).__name__))
        wanted = self._wanted()
        for number, known in self._known.items():
            settled = wanted == known.valid == known.built.keys()
            if not settled and not known.in_work and number not in self._builds:
                build = IndexBuild(number, self._settings.shards[number], self._settings)
                self._builds[number] = build, asyncio.create_task(asyncio.to_thread(build.run))

    def _is_settled(self) -> bool:
        wanted = self._wanted()
        return len(self._known) == len(self._shards.all) and all(
            wanted == known.valid == known.built.keys() for known in self._known.values()
        )

    def _wanted(self) -> set[str]:
        return {
            index_name(collection.number, path)
            for collection in self.collections.by_number.values()
            for path in _attributes(collection)
        }


def _attributes(collection: Collection) -> tuple[Path, ...]:
    """Those with an index of the collection's own; `hotshelf migrate` builds those of items."""
    return () if collection.number == ITEMS_NUMBER else collection.definition.attributes
