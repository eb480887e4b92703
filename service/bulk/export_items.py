"""Bulk export: every item as one line in the v1 representation, by ascending id over all shards.

Each shard streams one snapshot of its own; nothing is held but a few rows a shard.
"""

import heapq
from collections.abc import Generator
from contextlib import ExitStack, closing
from datetime import datetime
from operator import attrgetter

import orjson

from service import native
from service.model.item import Item
from service.settings import Database
from service.store.copy import copy_items
from service.store.migrate import connect_primary


def export_lines(settings: Database, after: bytes | None) -> Generator[bytes, None, None]:
    """The lines, with their ends, of all items or of those behind the id ``after``.

    Raises MigrationError when a shard has no primary, psycopg.Error when one fails on the way.
    """
    with ExitStack() as opened:
        streams = []
        for number, urls in enumerate(settings.shards):
            connection = opened.enter_context(connect_primary(number, urls, settings))
            # Closed before its connection, which would wait for the end of the COPY for ever.
            streams.append(opened.enter_context(closing(copy_items(connection, after))))
        for item in heapq.merge(*streams, key=attrgetter("id")):
            yield _line(item)


def _line(item: Item) -> bytes:
    assert item.data is not None
    return (
        b'{"id":"%b","owner_id":%b,"version":%d,"created_at":"%b","updated_at":"%b","data":%b}\n'
        % (
            native.format_id(item.id).encode(),
            orjson.dumps(item.owner_id),
            item.version,
            _timestamp(item.created_at),
            _timestamp(item.updated_at),
            item.data,
        )
    )


def _timestamp(moment: datetime) -> bytes:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z").encode()
