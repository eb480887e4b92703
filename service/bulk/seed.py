"""Fills the shards with a synthetic catalog, as an import whose line numbers are the items'."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from service import native
from service.bulk.rows import Batch
from service.bulk.shard_writers import ShardWriters
from service.bulk.synthetic import CHUNK_ITEMS, Catalog, Plan
from service.settings import Database
from service.store.copy import Checked, encode_row
from service.store.disk_space import disk_of, measure_row_bytes, missing_bytes
from service.store.migrate import connect_primary

_BATCH_BYTES = 2 << 20
_TRIED_ITEMS = 20_000
_TRIED_BYTES = 16 << 20
# A margin for partly filled pages, and because shards do not get equal shares.
_SLACK = 1.1


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """``row_bytes`` is measured, with indexes; ``total_bytes`` is for all nodes together.

    ``missing_bytes`` is None when the disk of a node cannot be measured from this machine.
    """

    row_bytes: float
    total_bytes: int
    missing_bytes: int | None


def disk_need(plan: Plan, settings: Database) -> DiskNeed:
    """The space that the catalog will need, measured by storing a sample of its items.

    Raises MigrationError when the first shard has no primary.
    """
    rows, count = bytearray(), 0
    for item_id, head, data in _items(Catalog(plan), plan.items, 0):
        if count == _TRIED_ITEMS or len(rows) >= _TRIED_BYTES:
            break
        rows += encode_row(item_id, head, data)
        count += 1
    with connect_primary(0, settings.shards[0], settings) as connection:
        row_bytes = measure_row_bytes(connection, rows, count)
    share = int(plan.items / len(settings.shards) * row_bytes * _SLACK)
    urls = [url for nodes in settings.shards for url in nodes]
    disks = [disk_of(url, settings) for url in urls]
    seen = [(disk, share) for disk in disks if disk is not None]
    missing = missing_bytes(seen) if len(seen) == len(disks) else None
    wal_bytes = sum(disk.wal_bytes for disk, _ in seen)
    return DiskNeed(row_bytes, share * len(urls) + wal_bytes, missing)


def seed_items(
    plan: Plan,
    import_id: str,
    settings: Database,
    progress: Callable[[int, int], None],
    version: int = 0,
) -> tuple[int, int]:
    """Store the catalog; returns the numbers of items stored and of items that existed.

    ``version`` is of the collection's definition. ``progress`` gets the numbers of items stored
    and processed. Raises ImportRefused, ImportStopped, MigrationError.
    """
    checked = Checked(plan.collection, version)
    with closing(ShardWriters(settings, import_id, checked)) as writers:
        writers.begin(f"{native.hash_bytes([plan.identity.encode()]):016x}", bytes(16))
        if not writers.finished:
            writers.store(
                _batches(plan, writers),
                lambda _lines: None,
                lambda: progress(writers.stored, writers.stored + writers.duplicates),
            )
        return writers.stored, writers.duplicates


def _items(catalog: Catalog, items: int, first: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    for chunk in range(first, items, CHUNK_ITEMS):
        yield from catalog.chunk(chunk)


def _batches(plan: Plan, writers: ShardWriters) -> Iterator[Batch]:
    """The items that some shard does not have yet. Item n, from 0, is line n + 1."""
    first = min(writers.done) // CHUNK_ITEMS * CHUNK_ITEMS
    batch = Batch.of(len(writers.done))
    buckets = len(writers.shard_of)
    size = 0
    for line, (item_id, head, data) in enumerate(
        _items(Catalog(plan), plan.items, first), first + 1
    ):
        shard = writers.shard_of[native.bucket_of(item_id, buckets)]
        if line > writers.done[shard]:
            row = encode_row(item_id, head, data)
            batch.rows[shard] += row
            batch.lines[shard].append(line)
            size += len(row)
        batch.line = line
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = Batch.of(len(writers.done)), 0
    yield batch
