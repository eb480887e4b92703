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


class VisibleReader:
    """One worker's. ``clock`` tells Unix seconds."""

    def __init__(
        self, reader: Reader, collections: Collections, clock: Callable[[], float] = time.time
    ) -> None:
        self.reader = reader
        self._collections = collections
        self._clock = clock

    async def get_where(
        self, collection: Collection, item_id: bytes, caller: Caller | None
    ) -> tuple[Stored | None, str]:
        """As ``Reader.get_where``, of what is visible; raises what ``checked`` raises too."""
        subject = "" if caller is None else caller.subject
        stored, source = await self.reader.get_where(item_id, subject)
        is_plain = not collection.number and (stored is None or not stored.entry.collection)
        if not is_plain:
            stored = await self.checked(collection, item_id, caller, stored)
        return stored, "" if stored is None else source

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
        collection = self._collections.current(collection, caller)
        if stored is not None and is_visible(collection, caller, stored.entry, self._clock()):
            return stored
        if collection.definition.read is Read.OWNER:
            stored = await self.reader.get_primary(item_id)
            collection = self._collections.current(collection, caller)
            if stored is not None and is_visible(collection, caller, stored.entry, self._clock()):
                return stored
        return None
