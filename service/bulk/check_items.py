"""Which stored items of a collection break a schema, found by reading all of them once."""

from collections.abc import Callable, Iterator
from contextlib import closing

from service.bulk.rows import CheckData
from service.model.errors import Location
from service.settings import Database
from service.store.copy_out import copy_items
from service.store.migrate import connect_primary


def violators(
    settings: Database, collection: int, check: CheckData, progress: Callable[[int], None]
) -> Iterator[tuple[bytes, Location]]:
    """Ids of items that ``check`` finds fault with, each with the first location, by shard.

    ``progress`` is told how many items were read. Raises MigrationError and psycopg.Error.
    """
    read = 0
    for number, urls in enumerate(settings.shards):
        with (
            connect_primary(number, urls, settings) as connection,
            closing(copy_items(connection, None, collection)) as items,
        ):
            for item in items:
                assert item.data is not None
                found = check(item.data, "/data")
                read += 1
                progress(read)
                if found is not None:
                    yield item.id, found
