"""What rows take on a shard's disk, and how much room the nodes' disks have."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

from service.settings import Database
from service.store.connection import Row, conninfo
from service.store.copy import copy_rows_into

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk below one node. ``device`` tells disks of this machine apart, ``free_bytes`` is
    what an ordinary user may still fill, ``wal_bytes`` what the node keeps for its log.
    """

    device: int
    free_bytes: int
    wal_bytes: int


def measure_row_bytes(connection: Connection[Row], rows: bytes | bytearray, count: int) -> float:
    """Bytes on disk per row, indexes included, found by storing ``count`` encoded rows for a try.

    They go into a temporary table made like a partition of items; nothing of it stays.
    """
    with connection.transaction(force_rollback=True):
        found = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'items'::regclass LIMIT 1"
        ).fetchone()
        assert found is not None
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE tried (LIKE {} INCLUDING ALL)").format(
                sql.Identifier(found[0])
            )
        )
        copy_rows_into(connection, "tried", rows)
        size = connection.execute("SELECT pg_total_relation_size('tried')").fetchone()
    assert size is not None
    return float(size[0]) / count


def disk_of(url: str, settings: Database) -> Disk | None:
    """The disk of a node; None when it is not on this machine, or does not tell."""
    host = str(conninfo_to_dict(url).get("host") or "/")
    if host not in _LOOPBACK and not host.startswith("/"):
        return None
    try:
        with psycopg.connect(conninfo(url, settings)) as connection:
            row = connection.execute(
                "SELECT current_setting('data_directory'),"
                " pg_size_bytes(current_setting('max_wal_size'))"
            ).fetchone()
    except psycopg.Error:
        return None
    assert row is not None
    return _disk(Path(row[0]), int(row[1]))


def _disk(directory: Path, wal_bytes: int) -> Disk | None:
    for place in (directory, *directory.parents):
        try:
            device = place.stat().st_dev
        except PermissionError:
            # Closed to us: the directory above is on the same disk, as a rule.
            continue
        except OSError:
            return None
        space = os.statvfs(place)
        return Disk(device, space.f_bavail * space.f_frsize, wal_bytes)
    return None


def missing_bytes(disks: Sequence[tuple[Disk, int]]) -> int:
    """How much is missing if each disk has to take the bytes beside it; 0 if they fit."""
    wanted: dict[int, int] = {}
    free: dict[int, int] = {}
    for disk, size in disks:
        wanted[disk.device] = wanted.get(disk.device, 0) + size + disk.wal_bytes
        free[disk.device] = disk.free_bytes
    return sum(max(0, size - free[device]) for device, size in wanted.items())
