"""``--collection NAME``: the collection that a bulk command is about, as the databases have it."""

import argparse
import asyncio
from typing import NamedTuple

from service.bulk.rows import CheckData
from service.cli.options import data_check
from service.items.collections import Collections
from service.model.collection import Collection, items_collection
from service.model.resource import ITEMS
from service.setting_sources import SettingsError
from service.settings import Database, Settings
from service.store.copy import OF_ITEMS, Checked
from service.store.shards import Shards


class Chosen(NamedTuple):
    """The collection's number and definition, and what checks its data; None for no rules."""

    checked: Checked
    check: CheckData | None


def add_collection(parser: argparse.ArgumentParser) -> None:
    """Add the flag."""
    parser.add_argument(
        "--collection",
        default=ITEMS.name,
        metavar="NAME",
        help="the collection that the items are of (default: %(default)s)",
    )


def chosen(args: argparse.Namespace, settings: Settings) -> Chosen:
    """Raises SettingsError, NoSuchCollection, ShardUnavailable, DatabaseTimeout, Overloaded."""
    if args.collection == ITEMS.name:
        return Chosen(OF_ITEMS, data_check(settings))
    known, collection = asyncio.run(_find(settings.database, args.collection))
    schema = known.schema_of(collection)
    checked = Checked(collection.number, collection.version)
    return Chosen(checked, schema.first_violation if schema.is_set else None)


async def _find(database: Database, name: str) -> tuple[Collections, Collection]:
    if not database.shards:
        raise SettingsError("database.shards is not set: name your servers, or a --data-dir")
    shards = Shards(database)
    try:
        await shards.connect()
        known = Collections(items_collection(), shards.all)
        await known.refresh()
        return known, known.find(name)
    except TimeoutError:
        raise SettingsError("the databases did not answer in time") from None
    finally:
        await shards.close()
