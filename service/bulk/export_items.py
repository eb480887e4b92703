"""Bulk export: every item as one line in the v1 representation, by ascending id over all shards.

Each shard streams a snapshot of its own; only a few rows per shard are in memory.
"""

import heapq
from collections.abc import Generator
from contextlib import ExitStack, closing
from operator import attrgetter

from service.model.item_json import render
from service.settings import Database
from service.store.copy_out import copy_items
from service.store.migrate import connect_primary


def export_lines(
    settings: Database, after: bytes | None, collection: int = 0
) -> Generator[bytes, None, None]:
    """The lines, with their ends, of a collection's items or of those with an id above ``after``.

    Raises MigrationError when a shard has no primary, psycopg.Error when one fails meanwhile.
    """
    with ExitStack() as opened:
        streams = []
        for number, urls in enumerate(settings.shards):
            connection = opened.enter_context(connect_primary(number, urls, settings))
            # Closed first, because closing the connection would wait for the end of the COPY.
            streams.append(opened.enter_context(closing(copy_items(connection, after, collection))))
        for item in heapq.merge(*streams, key=attrgetter("id")):
            yield render(item) + b"\n"
