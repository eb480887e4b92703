"""The sample of `hotshelf run`: a catalog of items, and the products and orders of a small shop."""

import asyncio
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import orjson

from service.bulk.import_items import ImportOptions, import_items
from service.bulk.source import Source
from service.items.collection_changes import CollectionChanges
from service.items.collections import Collections
from service.items.decision import Conditions
from service.model.collection import Definition, items_collection
from service.settings import Settings
from service.store.collections import read_collections
from service.store.copy import OF_ITEMS, Checked
from service.store.shards import Shards

_SAMPLE = files("service.sample")


def load_sample(settings: Settings, data_dir: Path, owner_id: str) -> None:
    """Once per data directory, so that a deleted sample does not come back; one import per file.

    Raises what the databases refuse.
    """
    into = {"catalog": OF_ITEMS} | asyncio.run(_collections(settings))
    for name, checked in into.items():
        options = ImportOptions(
            owner_id=owner_id,
            import_id=f"sample-{name}",
            rejects=data_dir / "sample-rejects.ndjson",
            csv=False,
            bare=False,
            skip_duplicates=True,
            line_max_bytes=settings.http.body_max_bytes,
            checked=checked,
        )
        with closing(Source(str(_SAMPLE / f"{name}.ndjson"))) as source:
            import_items(source, options, settings.database, lambda _: None)


async def _collections(settings: Settings) -> dict[str, Checked]:
    """The sample's collections that are still there; made where none ever was."""
    definitions = {
        name: Definition.sent(members)
        for name, members in orjson.loads((_SAMPLE / "collections.json").read_bytes()).items()
    }
    shards = Shards(settings.database)
    try:
        await shards.connect()
        known = Collections(items_collection(), shards.all)
        if not await read_collections(shards.all[0]):
            timeout_s = settings.database.timeout_s
            changes = CollectionChanges(
                known, shards, settings.collections, timeout_s, settings.writes.idempotency_ttl_s
            )
            for name, definition in definitions.items():
                await changes.put(name, definition, Conditions())
        await known.refresh()
        return {
            name: Checked(found.number, found.version)
            for name, definition in definitions.items()
            if (found := known.by_name.get(name)) is not None
            and found.definition.description == definition.description
        }
    finally:
        await shards.close()
