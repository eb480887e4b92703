"""The space that rows need on a shard's disk, and the free space of the nodes' disks."""

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
    """The disk of a node. ``device`` identifies a disk of this machine, ``free_bytes`` is what an
    ordinary user may still use, ``wal_bytes`` what the node keeps as WAL.
    """

    device: int
    free_bytes: int
    wal_bytes: int


def measure_row_bytes(connection: Connection[Row], rows: bytes | bytearray, count: int) -> float:
    """Bytes on disk per row, with indexes, measured by storing ``count`` encoded sample rows.

    They are stored in a temporary table like a partition of items, which is dropped.
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
    """The disk of a node; None if it is on another machine, or cannot be determined."""
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
            # Not accessible to us, but the directory above is usually on the same disk.
            continue
        except OSError:
            return None
        space = os.statvfs(place)
        return Disk(device, space.f_bavail * space.f_frsize, wal_bytes)
    return None


def missing_bytes(disks: Sequence[tuple[Disk, int]]) -> int:
    """The bytes missing if each disk must store the bytes paired with it; 0 if they fit."""
    wanted: dict[int, int] = {}
    free: dict[int, int] = {}
    for disk, size in disks:
        wanted[disk.device] = wanted.get(disk.device, 0) + size + disk.wal_bytes
        free[disk.device] = disk.free_bytes
    return sum(max(0, size - free[device]) for device, size in wanted.items())
