"""Bulk import: lines in, rows into every shard, each line exactly once however often it is begun.

The reader makes batches of rows; one thread a shard stores its part of each batch together with
the position behind it, in one transaction. An id is the line's own or follows from the import's
first id and the line's number, so a line always belongs to the same shard, and that shard's
position tells whether it has the line already.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from service import native
from service.items.bulk_csv import csv_blocks
from service.items.bulk_rejects import Rejects
from service.items.bulk_rows import Batch, Reject, RowMaker
from service.items.bulk_source import Source, SourceBroken
from service.settings import Database
from service.store.copy import ImportRefused, Position, ShardWriter

# A batch is held about four times: being made, waiting twice, being sent.
_BATCH_BYTES = 2 << 20
_WAITING_BATCHES = 2
_HASHED_BYTES = 64 << 10
# Room for line numbers below an import's first id: 10^12 lines, and 40 random bits above them.
_LINE_BITS = 40


class ImportStopped(Exception):
    """An import that ended before its input did; what was committed stays, and it can go on."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """``owner_id`` owns lines that name no owner. ``line_max_bytes`` is the longest line taken.

    Lines whose id is taken are rejected, or left out silently with ``skip_duplicates``.
    """

    owner_id: str
    import_id: str
    rejects: Path
    csv: bool = False
    bare: bool = False
    skip_duplicates: bool = False
    line_max_bytes: int = 1 << 20


@dataclass(slots=True)
class Totals:
    """What this run did so far; ``rejected`` counts earlier runs of the same import too."""

    stored: int = 0
    skipped: int = 0
    rejected: int = 0
    resumed_after: int = 0
    finished_before: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, stored: int, skipped: int) -> None:
        """Count a stored batch; called by every shard's thread."""
        with self._lock:
            self.stored += stored
            self.skipped += skipped


def import_items(
    source: Source, options: ImportOptions, settings: Database, progress: Callable[[Totals], None]
) -> Totals:
    """Store every line of ``source``; ``progress`` is called after each batch.

    Raises ImportRefused, ImportStopped, SourceBroken, MigrationError.
    """
    with ExitStack() as opened:
        writers = []
        for number, urls in enumerate(settings.shards):
            writers.append(ShardWriter(number, urls, settings, options.import_id))
            opened.callback(writers[-1].close)
        shard_of = writers[0].read_map()
        if len(shard_of) != settings.buckets or max(shard_of) >= len(writers):
            raise ImportRefused("the shard map and the settings differ; see `hotshelf migrate`")
        positions = _begin(writers, source, options)
        if positions[0].finished:
            return Totals(finished_before=True)
        done = [position.line for position in positions]
        rejects = Rejects(options.rejects, min(done))
        opened.callback(rejects.close)
        bare = options.bare or options.csv
        rows = RowMaker(options.owner_id, positions[0].first_id, shard_of, done, bare)
        totals = Totals(rejected=rejects.count, resumed_after=min(done))
        with _lanes(writers, done, options, rejects, totals) as lanes:
            for batch in _batches(source, options, rows, rejects, totals):
                for lane in lanes:
                    lane.put(batch)
                progress(totals)
        totals.rejected = rejects.count
        # The first shard's mark stands for the whole, so it is set last.
        for writer in reversed(writers):
            writer.finish()
        return totals


def _begin(writers: list[ShardWriter], source: Source, options: ImportOptions) -> list[Position]:
    how = f"{options.owner_id} {options.bare} {options.csv}".encode()
    source_hash = f"{native.hash_bytes([source.sample[:_HASHED_BYTES], how]):016x}"
    minted = int.from_bytes(native.mint_in_bucket(time.time_ns() // 1_000_000, 0, 1), "big")
    first_id = (minted >> _LINE_BITS << _LINE_BITS).to_bytes(16, "big")
    positions = []
    for writer in writers:
        positions.append(writer.begin(source_hash, first_id))
        first_id = positions[0].first_id
    return positions


def _batches(
    source: Source, options: ImportOptions, rows: RowMaker, rejects: Rejects, totals: Totals
) -> Iterator[Batch]:
    """The whole input in batches, also what was read before it broke off."""
    limit = options.line_max_bytes
    blocks = csv_blocks(source, limit) if options.csv else source.blocks(limit)
    batch = rows.batch()
    broken: SourceBroken | None = None
    try:
        for block in blocks:
            if block.last_line <= totals.resumed_after:
                continue
            if block.rejected:
                rejects.add([Reject(block.line, *block.rejected)])
            else:
                rejects.add(rows.add(batch, block.line, block.text))
            batch.line = block.last_line
            batch.input_bytes += len(block.text)
            if batch.size >= _BATCH_BYTES:
                rejects.sync()
                totals.rejected = rejects.count
                yield batch
                batch = rows.batch()
    except SourceBroken as error:
        broken = error
    rejects.sync()
    totals.rejected = rejects.count
    yield batch
    if broken:
        raise broken


class _Lane(threading.Thread):
    """Stores one shard's part of every batch, in order."""

    def __init__(
        self,
        shard: int,
        writer: ShardWriter,
        done: int,
        skip_duplicates: bool,
        rejects: Rejects,
        totals: Totals,
    ) -> None:
        super().__init__(name=f"import-shard-{shard}", daemon=True)
        self._shard = shard
        self._writer = writer
        self._done = done
        self._skip_duplicates = skip_duplicates
        self._rejects = rejects
        self._totals = totals
        self._queue: queue.Queue[Batch | None] = queue.Queue(_WAITING_BATCHES)
        self._error: Exception | None = None

    def put(self, batch: Batch) -> None:
        """Hand a batch over, waiting while two are. Raises ImportStopped if this shard failed."""
        self.check()
        self._queue.put(batch)

    def end(self) -> None:
        """Store what was handed over and stop."""
        self._queue.put(None)
        self.join()

    def check(self) -> None:
        if self._error is not None:
            message = str(self._error).splitlines()[0]
            raise ImportStopped(f"shard {self._shard}: {message}") from self._error

    def run(self) -> None:
        while (batch := self._queue.get()) is not None:
            # After a failure batches are only taken away, so that nobody waits for room.
            if self._error is None and batch.line > self._done:
                try:
                    self._store(batch)
                except (psycopg.Error, OSError) as error:
                    self._error = error

    def _store(self, batch: Batch) -> None:
        rows, lines = batch.rows[self._shard], batch.lines[self._shard]
        duplicates = self._writer.store(rows, lines, batch.line, self._note_duplicates)
        self._totals.add(len(lines) - duplicates, duplicates if self._skip_duplicates else 0)

    def _note_duplicates(self, lines: Sequence[int]) -> None:
        if not self._skip_duplicates:
            self._rejects.add(
                Reject(n, "duplicate-id", "an item or an earlier line has this id", "/id")
                for n in lines
            )
            self._rejects.sync()


@contextmanager
def _lanes(
    writers: list[ShardWriter],
    done: list[int],
    options: ImportOptions,
    rejects: Rejects,
    totals: Totals,
) -> Iterator[list[_Lane]]:
    """A running lane a shard. At the end all that was handed over is stored, error or not."""
    lanes = [
        _Lane(n, writer, done[n], options.skip_duplicates, rejects, totals)
        for n, writer in enumerate(writers)
    ]
    for lane in lanes:
        lane.start()
    try:
        yield lanes
    finally:
        for lane in lanes:
            lane.end()
    for lane in lanes:
        lane.check()
