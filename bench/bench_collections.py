"""What a collection costs by how it is stored: ``python -m bench.bench_collections``.

Variants of one partition of items take turns, a hundred rows each, so whatever else the machine
does meets all of them: with so many partial indexes of other collections, or with three generic
key columns and their indexes. Then, what a new attribute costs in rows that are there already,
and what a table for each collection would add to the catalog. Figures in
bench/results/collections.json.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench import machine
from service.embedded import EmbeddedStack
from service.settings import Database
from service.store.attributes import declared
from service.store.migrate import migrate
from tests.fixtures.stack import short_directory

RESULTS = Path(__file__).parent / "results" / "collections.json"
INDEXES = (0, 16, 64, 256)
ROUNDS, ROWS = 30, 100
STORED_ROWS = 100_000
TABLES = 20
_OWN = 7  # the collection that is written to and listed
_KEY = declared(("price",))
_INSERT = """
    INSERT INTO {} (id, owner_id, data, version, created_at, updated_at, collection)
    VALUES (gen_random_uuid(), 'o', jsonb_build_object('price', %s::integer, 'name', 'kettle'), 1,
            now(), now(), 7)"""
_GENERIC = """
    INSERT INTO {} (id, owner_id, data, version, created_at, updated_at, collection, key1)
    VALUES (gen_random_uuid(), 'o', jsonb_build_object('price', %s::integer, 'name', 'kettle'), 1,
            now(), now(), 7, to_jsonb(%s::integer))"""
_LIST = "SELECT id FROM {} WHERE data IS NOT NULL AND collection = 7 ORDER BY {}, id LIMIT 21"

Connection = psycopg.Connection[tuple[Any, ...]]


def main() -> None:
    where = machine.describe()
    with EmbeddedStack(short_directory(), shards=1, replicas=0) as stack:
        settings = Database(shards=(tuple(stack.shards[0]),))
        migrate(settings)
        with psycopg.connect(stack.shards[0][0], autocommit=True) as connection:
            figures = {
                "machine": where,
                "partition": partition(connection),
                "new_attribute_s": new_attribute(connection),
                "table_per_collection": tables(connection),
            }
    text = json.dumps(figures, indent=2)
    RESULTS.write_text(text + "\n")
    print(text)


def partition(connection: Connection) -> dict[str, dict[str, float]]:
    """Microseconds of one INSERT, and of planning a sorted list."""
    names = {f"{count} partial indexes": f"partial_{count}" for count in INDEXES}
    for count in INDEXES:
        _partition_like(connection, f"partial_{count}")
        _index(connection, f"partial_{count}", _KEY, _OWN)
        for other in range(count):
            _index(connection, f"partial_{count}", declared((f"a{other}",)), 1000 + other)
    names["3 generic key columns"] = "generic"
    _partition_like(connection, "generic")
    for column in ("key1", "key2", "key3"):
        connection.execute(f"ALTER TABLE generic ADD {column} jsonb")
        connection.execute(f"CREATE INDEX ON generic (collection, {column}, id)")
    inserts: dict[str, list[float]] = {name: [] for name in names}
    plans: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, table in names.items():
            inserts[name].append(_inserted_us(connection, table))
            plans[name].append(_planned_us(connection, table))
    return {
        name: {
            "insert_us": round(statistics.median(inserts[name]), 1),
            "plan_us": round(statistics.median(plans[name]), 1),
        }
        for name in names
    }


def new_attribute(connection: Connection) -> dict[str, float]:
    """Seconds until an attribute of rows that are there already can be listed by."""
    fill = "INSERT INTO {} SELECT gen_random_uuid(), 'o', jsonb_build_object('price', n), 1,"
    for table in ("by_index", "by_column"):
        _partition_like(connection, table)
        connection.execute(
            f"{fill.format(table)} now(), now(), NULL, 7 FROM generate_series(1, {STORED_ROWS}) n"
        )
    connection.execute("ALTER TABLE by_column ADD key1 jsonb")
    connection.execute("CREATE INDEX ON by_column (collection, key1, id)")
    built = _seconds(connection, _index_statement("by_index", _KEY, _OWN))
    filled = _seconds(connection, sql.SQL("UPDATE by_column SET key1 = data -> 'price'"))
    return {"partial_index": round(built, 2), "generic_column": round(filled, 2)}


def tables(connection: Connection) -> dict[str, float]:
    """A table with 16 partitions and the indexes of items, for each of TABLES collections."""
    size = "SELECT count(*), sum(pg_total_relation_size(oid)) FROM pg_class"
    relations, _ = connection.execute(size).fetchall()[0]
    catalog = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'pg_%'"
    [(before,)] = connection.execute(catalog).fetchall()
    began = time.perf_counter()
    for number in range(TABLES):
        connection.execute(
            f"CREATE TABLE c{number} (LIKE items INCLUDING ALL) PARTITION BY HASH (id)"
        )
        for bucket in range(16):
            connection.execute(
                f"CREATE TABLE c{number}_{bucket} PARTITION OF c{number}"
                f" FOR VALUES WITH (MODULUS 16, REMAINDER {bucket})"
            )
    took_s = time.perf_counter() - began
    more, _ = connection.execute(size).fetchall()[0]
    [(after,)] = connection.execute(catalog).fetchall()
    return {
        "relations": round((more - relations) / TABLES, 1),
        "seconds": round(took_s / TABLES, 3),
        "catalog_kb": round(float(after - before) / TABLES / 1000, 1),
    }


def _partition_like(connection: Connection, name: str) -> None:
    connection.execute(f"CREATE TABLE {name} (LIKE items_0000 INCLUDING ALL)")


def _index(connection: Connection, table: str, key: sql.Composable, collection: int) -> None:
    connection.execute(_index_statement(table, key, collection))


def _index_statement(table: str, key: sql.Composable, collection: int) -> sql.Composed:
    return sql.SQL("CREATE INDEX ON {} ({}, id) WHERE data IS NOT NULL AND collection = {}").format(
        sql.Identifier(table), key, sql.Literal(collection)
    )


def _inserted_us(connection: Connection, table: str) -> float:
    statement = (_GENERIC if table == "generic" else _INSERT).format(table)
    values = 2 if table == "generic" else 1
    began = time.perf_counter()
    with connection.transaction():
        for n in range(ROWS):
            connection.execute(statement, (n,) * values, prepare=True)
    return (time.perf_counter() - began) / ROWS * 1e6


def _planned_us(connection: Connection, table: str) -> float:
    key = sql.SQL("key1") if table == "generic" else _KEY
    query = sql.SQL("EXPLAIN (SUMMARY, FORMAT JSON) " + _LIST).format(sql.Identifier(table), key)
    [(plan,)] = connection.execute(query).fetchall()
    return float(plan[0]["Planning Time"]) * 1000


def _seconds(connection: Connection, statement: sql.SQL | sql.Composed) -> float:
    began = time.perf_counter()
    connection.execute(statement)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
