"""Per-shard writers: one thread per shard stores the shard's rows of every batch.

A shard's rows of a batch and the import's position after the batch are committed in one
transaction. Every line is stored exactly once, provided that each attempt puts a line into the same
shard and leaves out the lines that the shard has (``ShardWriters.done``).
"""

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from service.bulk.rows import Batch
from service.settings import Database
from service.store.copy import OF_ITEMS, Checked, CopyFailed, ImportRefused, ShardWriter

_WAITING_BATCHES = 2


class ImportStopped(Exception):
    """An import that ended early; committed rows stay, and it can be resumed."""


class ShardWriters:
    """The writers of all shards for the import with a given name.

    Raises MigrationError when a shard has no primary, ImportRefused when the settings do not fit.
    After ``begin``: ``first_id`` is that of the import's first run, ``done`` the last line that
    each shard has, ``finished`` whether the import is complete.
    """

    def __init__(self, settings: Database, import_id: str, checked: Checked = OF_ITEMS) -> None:
        with ExitStack() as opened:
            self._writers = []
            for number, urls in enumerate(settings.shards):
                self._writers.append(ShardWriter(number, urls, settings, import_id, checked))
                opened.callback(self._writers[-1].close)
            if not self._writers:
                raise ImportRefused("no shards are configured: set database.shards")
            self.shard_of = self._writers[0].read_map()
            if len(self.shard_of) != settings.buckets or max(self.shard_of) >= len(self._writers):
                raise ImportRefused("the shard map and the settings differ; see `hotshelf migrate`")
            self._opened = opened.pop_all()
        self.first_id = b""
        self.done: list[int] = []
        self.finished = False
        self._threads: list[_WriterThread] = []

    def close(self) -> None:
        self._opened.close()

    @property
    def stored(self) -> int:
        """Rows that this run has stored."""
        return sum(thread.stored for thread in self._threads)

    @property
    def duplicates(self) -> int:
        """Rows that this run skipped because their id exists."""
        return sum(thread.duplicates for thread in self._threads)

    def begin(self, source_hash: str, first_id: bytes) -> None:
        """Begin or resume the import. Raises ImportRefused."""
        positions = []
        for writer in self._writers:
            positions.append(writer.begin(source_hash, first_id))
            first_id = positions[0].first_id
        self.first_id = first_id
        self.done = [position.line for position in positions]
        self.finished = positions[0].finished

    def store(
        self,
        batches: Iterable[Batch],
        on_duplicates: Callable[[Sequence[int]], None],
        progress: Callable[[], None],
    ) -> None:
        """Store all batches, and mark the import as finished after the last one.

        ``on_duplicates`` gets the lines of a batch whose ids exist, before its commit and in the
        shard's thread. Batches already taken are stored even when ``batches`` raises. Raises
        ImportStopped when a shard fails.
        """
        self._threads = [
            _WriterThread(n, writer, self.done[n], on_duplicates)
            for n, writer in enumerate(self._writers)
        ]
        for thread in self._threads:
            thread.start()
        try:
            for batch in batches:
                for thread in self._threads:
                    thread.put(batch)
                progress()
        finally:
            for thread in self._threads:
                thread.end()
        for thread in self._threads:
            thread.check()
        # In reverse, because ``begin`` reads from the first shard whether the import has finished.
        for writer in reversed(self._writers):
            writer.finish()


class _WriterThread(threading.Thread):
    """Stores one shard's rows of every batch, in order."""

    def __init__(
        self,
        shard: int,
        writer: ShardWriter,
        done: int,
        on_duplicates: Callable[[Sequence[int]], None],
    ) -> None:
        super().__init__(name=f"import-shard-{shard}", daemon=True)
        self.stored = 0
        self.duplicates = 0
        self._shard = shard
        self._writer = writer
        self._done = done
        self._on_duplicates = on_duplicates
        self._queue: queue.Queue[Batch | None] = queue.Queue(_WAITING_BATCHES)
        self._error: Exception | None = None

    def put(self, batch: Batch) -> None:
        """Queue a batch, at most two at a time. Raises ImportStopped if this shard failed."""
        self.check()
        self._queue.put(batch)

    def end(self) -> None:
        """Store what is queued and stop."""
        self._queue.put(None)
        self.join()

    def check(self) -> None:
        """Raises ImportStopped if this shard failed."""
        if self._error is not None:
            raise ImportStopped(f"shard {self._shard}: {self._error}") from self._error

    def run(self) -> None:
        while (batch := self._queue.get()) is not None:
            # After a failure batches are dropped, because otherwise ``put`` would wait forever.
            if self._error is None and batch.line > self._done:
                try:
                    self._store(batch)
                except (CopyFailed, OSError) as error:
                    self._error = error

    def _store(self, batch: Batch) -> None:
        rows, lines = batch.rows[self._shard], batch.lines[self._shard]
        named = batch.named[self._shard]
        duplicates = self._writer.store(rows, lines, named, batch.line, self._on_duplicates)
        self.stored += len(lines) - duplicates
        self.duplicates += duplicates
