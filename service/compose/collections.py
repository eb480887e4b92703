"""What a worker knows of collections and how operators change them, from the settings."""

from contextlib import AsyncExitStack

from service.api.collections import CollectionsEndpoints
from service.api.public_url import PublicUrl
from service.compose.checked import checked
from service.items.collection_changes import CollectionChanges
from service.items.collection_indexes import CollectionIndexes
from service.items.collections import Collections
from service.items.data_schema import DataSchema, schema_in
from service.model.collection import items_collection
from service.setting_sources import declared_attributes
from service.settings import Settings
from service.store.shards import Shards


async def open_collections(
    settings: Settings, shards: Shards, public_url: PublicUrl, opened: AsyncExitStack
) -> tuple[Collections, CollectionIndexes, CollectionsEndpoints]:
    """Read once if any database answers, then kept current until ``opened`` is closed."""
    schema = checked("data.schema", lambda: schema_in(settings.data.schema))
    items = items_collection(schema, declared_attributes(settings))
    checked("data.schema", lambda: DataSchema.of(schema))
    collections = Collections(items, shards.all)
    opened.push_async_callback(collections.close)
    await collections.open()
    collections.start()
    indexes = CollectionIndexes(collections, shards, settings.database)
    opened.push_async_callback(indexes.close)
    indexes.start()
    timeout_s = settings.database.timeout_s
    changes = CollectionChanges(
        collections, shards, settings.collections, timeout_s, settings.writes.idempotency_ttl_s
    )
    if_match = settings.writes.require_if_match
    endpoints = CollectionsEndpoints(collections, indexes, changes, if_match, public_url)
    return collections, indexes, endpoints
