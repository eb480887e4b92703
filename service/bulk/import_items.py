"""Bulk import: stores every line exactly once in its shard, however often the import restarts.

The reader makes batches of rows; one thread per shard stores its part of each batch and the
position after it in one transaction. An id is the line's own or computed from the import's first id
and the line's number, so a line always belongs to the same shard, and that shard's position says
whether it already has the line.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from service import native
from service.bulk.csv_source import csv_blocks
from service.bulk.rejects_file import Rejects
from service.bulk.rows import Batch, CheckData, Reject, RowMaker
from service.bulk.shard_writers import ShardWriters
from service.bulk.source import Source, SourceBroken
from service.settings import Database
from service.store.copy import OF_ITEMS, Checked

# Up to four batches are in memory: one being made, two waiting, one being sent.
_BATCH_BYTES = 2 << 20
_HASHED_BYTES = 64 << 10
# The low bits of an import's first id count lines, up to 10^12; the 40 bits above are random.
_LINE_BITS = 40
_DUPLICATE = ("duplicate-id", "an item or an earlier line has this id", "/id")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """``owner_id`` owns lines that name no owner. ``line_max_bytes`` is the longest line taken.

    Lines whose id exists are rejected, or skipped silently with ``skip_duplicates``; lines whose
    data fails ``check`` are rejected. ``text_columns`` are columns of a CSV input whose cells are
    always text. ``checked`` is the collection.
    """

    owner_id: str
    import_id: str
    rejects: Path
    csv: bool = False
    bare: bool = False
    skip_duplicates: bool = False
    line_max_bytes: int = 1 << 20
    check: CheckData | None = None
    text_columns: tuple[str, ...] = ()
    checked: Checked = OF_ITEMS


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of this run so far; ``rejected`` includes earlier runs of the same import."""

    stored: int = 0
    skipped: int = 0
    rejected: int = 0
    resumed_after: int = 0
    finished_before: bool = False


def import_items(
    source: Source, options: ImportOptions, settings: Database, progress: Callable[[Totals], None]
) -> Totals:
    """Store every line of ``source``; ``progress`` is called after each batch.

    Raises ImportRefused, ImportStopped, SourceBroken, MigrationError.
    """
    with closing(ShardWriters(settings, options.import_id, options.checked)) as writers:
        writers.begin(_source_hash(source, options), _first_id())
        if writers.finished:
            return Totals(finished_before=True)
        resumed_after = min(writers.done)
        with closing(Rejects(options.rejects, resumed_after, any(writers.done))) as rejects:

            def totals() -> Totals:
                skipped = writers.duplicates if options.skip_duplicates else 0
                return Totals(writers.stored, skipped, rejects.count, resumed_after)

            def reject_duplicates(lines: Sequence[int]) -> None:
                if not options.skip_duplicates:
                    rejects.add(Reject(n, *_DUPLICATE) for n in lines)
                    rejects.sync()

            rows = RowMaker(
                options.owner_id,
                writers.first_id,
                writers.shard_of,
                writers.done,
                options.bare or options.csv,
                options.check,
                options.checked.collection,
            )
            batches = _batches(source, options, rows, rejects)
            writers.store(batches, reject_duplicates, lambda: progress(totals()))
            return totals()


def _source_hash(source: Source, options: ImportOptions) -> str:
    how = f"{options.owner_id} {options.bare} {options.csv}".encode()
    if options.text_columns:
        how += "\0".join(("", *options.text_columns)).encode()
    if options.checked.collection:
        how += b" %d" % options.checked.collection
    return f"{native.hash_bytes([source.sample[:_HASHED_BYTES], how]):016x}"


def _first_id() -> bytes:
    """An id with the current time whose low bits are 0, because they count lines."""
    minted = int.from_bytes(native.mint_in_bucket(time.time_ns() // 1_000_000, 0, 1), "big")
    return (minted >> _LINE_BITS << _LINE_BITS).to_bytes(16, "big")


def _batches(
    source: Source, options: ImportOptions, rows: RowMaker, rejects: Rejects
) -> Iterator[Batch]:
    """The whole input in batches, including what was read before an error."""
    limit = options.line_max_bytes
    if options.csv:
        blocks = csv_blocks(source, limit, options.text_columns)
    else:
        source.refuse_array()
        blocks = source.blocks(limit)
    batch = rows.batch()
    broken: SourceBroken | None = None
    try:
        for block in blocks:
            if block.last_line <= rows.all_done:
                continue
            if block.rejected:
                rejects.add([Reject(block.line, *block.rejected)])
            else:
                rejects.add(rows.add(batch, block.line, block.text))
            batch.line = block.last_line
            batch.input_bytes += len(block.text)
            if batch.size >= _BATCH_BYTES:
                rejects.sync()
                yield batch
                batch = rows.batch()
    except SourceBroken as error:
        broken = error
    rejects.sync()
    yield batch
    if broken:
        raise broken
