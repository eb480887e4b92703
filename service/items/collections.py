"""The collections as one worker knows them, read anew from the databases every second.

A worker that cannot reach the first shard goes on with what it knows. It asks whichever shard
answers as long as it knows nothing, since all hold the same rows.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from service.flow.deadline import within
from service.items.data_schema import DataSchema
from service.model.caller import Caller
from service.model.collection import ITEMS_NUMBER, Collection, stored_collection
from service.model.errors import (
    DefinitionChanged,
    HotshelfError,
    NoSuchCollection,
    ShardUnavailable,
    Unauthenticated,
)
from service.model.resource import DEFAULT_VERSION, Target, split
from service.observe.logs import fields
from service.store.collections import (
    StoredCollection,
    copy_collections,
    newest,
    read_collections,
)
from service.store.shards import Shard

logger = logging.getLogger(__name__)

# All workers of all hosts know of a change within five seconds.
INTERVAL_S = 1.0
_TIMEOUT_S = 1.0
_COPY_TIMEOUT_S = 5.0


class Collections:
    """All collections, ``items`` among them; ``shards`` are in the order of their numbers.

    ``by_name`` and ``by_number`` hold the living ones, ``hot_prefix`` the same by what their
    items' paths of version 1 begin with. The dictionaries are replaced, never changed.
    ``on_change`` are called after that, on the event loop.
    """

    def __init__(self, items: Collection, shards: Sequence[Shard]) -> None:
        self._items = items
        self._shards = shards
        self._version = -1  # of the rows that are known; below all while none are
        self._reads_begun = 0
        self._reading = asyncio.Lock()
        self._schemas: dict[int, tuple[int, DataSchema]] = {}
        self._task: asyncio.Task[None] | None = None
        self.on_change: list[Callable[[], None]] = []
        self._show([items])

    def find(self, name: str) -> Collection:
        """The collection of this name.

        Raises NoSuchCollection, and ShardUnavailable while no database could tell what there is.
        """
        found = self.by_name.get(name)
        if found is not None:
            return found
        if self._version < 0:
            raise ShardUnavailable("No database has told the collections yet.", retry_after_s=1)
        raise NoSuchCollection

    def besides_items(self) -> list[Collection]:
        """All but ``items``, by name."""
        return [c for _, c in sorted(self.by_name.items()) if c.number != ITEMS_NUMBER]

    def of_path(self, path: str) -> tuple[Collection, Target] | None:
        """The collection that a decoded path is of, and what it names there."""
        parts = split(path)
        if parts is None or parts[0] not in self.by_name:
            return None
        return self.by_name[parts[0]], parts[1]

    def current(self, collection: Collection, caller: Caller | None) -> Collection:
        """The collection as it is known by now. Raises NoSuchCollection.

        Raises Unauthenticated where nobody asks, and it is no longer public.
        """
        current = self.by_number.get(collection.number)
        if current is None:
            raise NoSuchCollection
        if caller is None and not current.is_public:
            raise Unauthenticated("This request needs an access token or an API key.")
        return current

    async def changed(self, collection: Collection) -> Collection:
        """The collection of the same name after a database has refused this definition.

        Raises NoSuchCollection, and DefinitionChanged while no newer one can be read.
        """
        try:
            await self.refresh()
        except (HotshelfError, TimeoutError):
            raise DefinitionChanged from None
        return self.find(collection.name)

    async def newer(self, collection: Collection) -> Collection | None:
        """A later definition of the collection, asked for now; None if nobody knows of one.

        For a caller who is about to refuse data, since what was checked may be outdated.
        """
        if collection.number == ITEMS_NUMBER:
            return None
        with contextlib.suppress(HotshelfError, TimeoutError):
            await self.refresh()
        current = self.by_number.get(collection.number)
        return None if current is None or current.version == collection.version else current

    def schema_of(self, collection: Collection) -> DataSchema:
        """What checks the collection's data, compiled when it is first asked for."""
        known = self._schemas.get(collection.number)
        if known is None or known[0] != collection.version:
            definition = collection.definition
            schema = DataSchema.of(definition.schema, definition.max_bytes)
            known = collection.version, schema
            self._schemas[collection.number] = known
        return known[1]

    async def open(self) -> None:
        """Read them if any database answers."""
        with contextlib.suppress(HotshelfError, TimeoutError):
            await self.refresh()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def refresh(self) -> None:
        """Return when a reading that began after this call has ended.

        Raises ShardUnavailable, DatabaseTimeout, Overloaded or TimeoutError; what is known stays.
        """
        begun = self._reads_begun
        async with self._reading:
            if self._reads_begun == begun:
                self._reads_begun += 1
                await within(_TIMEOUT_S, self._read())

    async def complete(self) -> None:
        """Bring every shard up to the first one. Raises as ``refresh``."""
        rows = await within(_TIMEOUT_S, read_collections(self._shards[0]))
        newest_version = _newest_of(rows)
        for shard in self._shards[1:]:
            if await within(_TIMEOUT_S, newest(shard)) < newest_version:
                await within(_COPY_TIMEOUT_S, copy_collections(shard, rows))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            for step in (self.refresh, self._complete_left):
                try:
                    await step()
                except (HotshelfError, TimeoutError) as error:
                    logger.debug("collections", **fields(reason=type(error).__name__))

    async def _complete_left(self) -> None:
        """Finish a change whose maker ended between two shards."""
        versions = await asyncio.gather(
            *(within(_TIMEOUT_S, newest(shard)) for shard in self._shards), return_exceptions=True
        )
        known = [found for found in versions if not isinstance(found, BaseException)]
        if known and min(known) < max(known):
            await self.complete()

    async def _read(self) -> None:
        """From the first shard; from another only what is newer than what is known."""
        try:
            first = self._shards[0]
            if await newest(first) != self._version:
                self._learn(await read_collections(first))
        except HotshelfError:
            for shard in self._shards[1:]:
                with contextlib.suppress(HotshelfError):
                    if await newest(shard) > self._version:
                        self._learn(await read_collections(shard))
                    return
            raise

    def _learn(self, rows: Sequence[StoredCollection]) -> None:
        known = {c.number: c for c in self.by_name.values()}
        self._show([self._items, *(_collection(row, known) for row in rows if row.name)])
        self._schemas = {n: s for n, s in self._schemas.items() if n in self.by_number}
        self._version = _newest_of(rows)
        logger.info("collections", **fields(version=self._version, count=len(self.by_name)))
        for told in self.on_change:
            told()

    def _show(self, collections: Sequence[Collection]) -> None:
        self.by_name = {c.name: c for c in collections}
        self.by_number = {c.number: c for c in collections}
        self.hot_prefix = {f"{c.resource.path(DEFAULT_VERSION)}/": c for c in collections}


def _collection(row: StoredCollection, known: dict[int, Collection]) -> Collection:
    same = known.get(row.number)
    if same is not None and same.version == row.version:
        return same
    assert row.name is not None
    return stored_collection(row.number, row.name, row.version, row.definition, row.updated_at)


def _newest_of(rows: Sequence[StoredCollection]) -> int:
    return max((row.version for row in rows), default=0)
