"""Reads by id within a collection: what the Reader finds, if its definition shows it to the caller.

The definition is the one that the worker knows when it answers, not when the read began.
"""

import time
from collections.abc import Callable

from service.items.coherence import Stored
from service.items.collections import Collections
from service.items.reader import Reader
from service.items.visibility import is_visible
from service.model.caller import Caller
from service.model.collection import Collection, Read
from service.model.errors import NoSuchCollection, Unauthenticated


class VisibleReader:
    """One worker's. ``clock`` tells Unix seconds."""

    def __init__(
        self, reader: Reader, collections: Collections, clock: Callable[[], float] = time.time
    ) -> None:
        self.reader = reader
        self.collections = collections
        self._clock = clock

    async def get_where(
        self, collection: Collection, item_id: bytes, caller: Caller | None
    ) -> tuple[Stored | None, str]:
        """As ``Reader.get_where``, of what is visible; raises what ``checked`` raises too."""
        subject = "" if caller is None else caller.subject
        stored, source = await self.reader.get_where(item_id, subject)
        if collection.number or stored is None or stored.entry.collection:
            stored = await self.checked(collection, item_id, caller, stored)
        return stored, source if stored is not None else ""

    def is_shown_near(self, collection: Collection, caller: Caller, stored: Stored) -> bool:
        """Whether what the near cache has can be the answer. What it hides says nothing."""
        return is_visible(collection, caller, stored.entry, self._clock())

    async def checked(
        self, collection: Collection, item_id: bytes, caller: Caller | None, stored: Stored | None
    ) -> Stored | None:
        """What a read found, if it is visible by the definition as it is by now.

        Where an owner's items are hidden from others, the primary is asked about all that would
        be answered 404, so that it does not matter whether there is another's item or none.
        Raises NoSuchCollection, Unauthenticated and what reads raise.
        """
        collection = self.current(collection, caller)
        if stored is not None and is_visible(collection, caller, stored.entry, self._clock()):
            return stored
        if collection.definition.read is Read.OWNER:
            stored = await self.reader.get_primary(item_id)
            collection = self.current(collection, caller)
            if stored is not None and is_visible(collection, caller, stored.entry, self._clock()):
                return stored
        return None

    def current(self, collection: Collection, caller: Caller | None) -> Collection:
        """The collection as it is known by now. Raises NoSuchCollection.

        Raises Unauthenticated where nobody asks, and it is no longer public.
        """
        current = self.collections.by_number.get(collection.number)
        if current is None:
            raise NoSuchCollection
        if caller is None and current.definition.read is not Read.PUBLIC:
            raise Unauthenticated("This request needs an access token or an API key.")
        return current
