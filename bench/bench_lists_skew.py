"""Every kind of allowed list over skewed data: each answers, or says in time that it cannot.

Two shards on this machine; nearly all items have one owner, one section, one brand and no stock,
and few have what is rare. Each filter that an index may answer, on values that most, few and no
items have, is asked in each order that is allowed beside it, alone and with each filter that only
is residual. No page may take longer than the statement timeout and what it takes to say so.

    python -m bench.bench_lists_skew --items 1000000
"""

import argparse
import collections
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
import psycopg

from bench import machine
from service.embedded import EmbeddedStack
from service.model.query import parse_attributes
from service.settings import Database
from service.store.migrate import migrate
from tests.fixtures.bulk import own_database
from tests.fixtures.lists import ListService, content
from tests.fixtures.stack import execute, short_directory

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench" / "results" / "lists-skew.json"
ATTRIBUTES = ("price.amount", "section", "stock")
TIMEOUT_S = 1.0
# The statement's timeout, the service's patience behind it, and what a busy machine adds.
LATE_S = TIMEOUT_S + 0.5

# What an index may answer, by the field: (operator, value), for most, few and no items.
INDEXED: dict[str, tuple[tuple[str, str], ...]] = {
    "section": (
        *(("eq", value) for value in ("all", "s7", "none")),
        *(("in", value) for value in ("all,s7", "none,nothing")),
        *(("prefix", value) for value in ("", "a", "s9", "none")),
        *(("gte", "a"), ("lt", "b"), ("gt", "zzz")),
    ),
    "stock": (
        *(("eq", value) for value in ("0", "77", "-1")),
        *(("in", "0,1,2"), ("gte", "0"), ("gt", "0"), ("lt", "0")),
    ),
    "price.amount": (("gte", "0"), ("lt", "2"), ("gt", "99999")),
    "owner_id": (*(("eq", value) for value in ("giant", "owner-7", "nobody")), ("prefix", "owner")),
    "created_at": (("gte", "2000-01-01T00:00:00Z"), ("lt", "2000-01-01T00:00:00Z")),
    "brand": tuple(("eq", value) for value in ("acme", "b7", "nobody")),
}
RESIDUAL = (
    None,
    ("note", "contains", "zzzz"),
    ("tags", "contains", "t7"),
    ("missing", "exists", "true"),
    ("section", "ne", "all"),
    ("stock", "nin", "0"),
)


class Asked(NamedTuple):
    """A list, how it ended and after how long."""

    query: str
    outcome: str
    took_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--result", type=Path, default=RESULT)
    args = parser.parse_args()
    where = machine.describe()
    with skewed(args.items) as service:
        asked = [_ask(service, query) for query in queries()]
    found = summary(asked)
    document = {"machine": where, "items": args.items, "timeout_s": TIMEOUT_S} | found
    args.result.write_text(json.dumps(document, indent=2) + "\n")
    sys.stdout.write(f"{found['outcomes']}, slowest {found['slowest'][0]}\n")
    sys.exit(1 if found["late"] else 0)


def queries() -> Iterator[str]:
    """Every filter with every order and every residual filter that it may have."""
    for field, conditions in INDEXED.items():
        sorts = ["id", "-id"]
        # Beside another order than by id, the field of that order is allowed, and the owner.
        keys = ATTRIBUTES if field == "owner_id" else (field,) if field != "brand" else ()
        sorts += [sign + key for key in keys for sign in ("", "-")]
        for (operator, value), sort, residual in itertools.product(conditions, sorts, RESIDUAL):
            if residual is not None and residual[0] == field:
                continue
            sent = {f"filter[{field}][{operator}]": value, "sort": sort}
            if residual is not None:
                sent[f"filter[{residual[0]}][{residual[1]}]"] = residual[2]
            yield urlencode(sent)


def _ask(service: ListService, query: str) -> Asked:
    began = time.perf_counter()
    reply = service.get(query)
    took_s = time.perf_counter() - began
    outcome = str(content(reply).get("code", reply.status))
    assert outcome in ("200", "query-too-expensive"), (query, reply)
    return Asked(query, outcome, round(took_s, 3))


def summary(asked: list[Asked]) -> dict[str, Any]:
    """How many ended how, those that were too expensive, too late, and the slowest answers."""
    slowest = sorted((one for one in asked if one.outcome == "200"), key=lambda one: -one.took_s)
    return {
        "lists": len(asked),
        "outcomes": dict(collections.Counter(one.outcome for one in asked)),
        "late": [one for one in asked if one.took_s > LATE_S],
        "slowest": slowest[:20],
        "too_expensive": [one for one in asked if one.outcome != "200"],
    }


@contextmanager
def skewed(items: int) -> Iterator[ListService]:
    """A list service over two shards with so many items."""
    folder = short_directory()
    try:
        with EmbeddedStack(folder / "stack", replicas=0) as stack:
            for primary, *_ in stack.shards:
                execute(primary, "CREATE DATABASE skewed TEMPLATE template0")
            urls = [own_database(nodes[0], "skewed") for nodes in stack.shards]
            database = Database(shards=tuple((url,) for url in urls))
            migrate(database, attributes=parse_attributes(ATTRIBUTES))
            _import(urls, folder, items)
            service = ListService(urls, TIMEOUT_S, database.buckets, ATTRIBUTES)
            try:
                yield service
            finally:
                service.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _import(urls: list[str], folder: Path, items: int) -> None:
    lines = folder / "items.ndjson"
    with lines.open("wb") as file:
        file.writelines(_line(random.Random(n)) for n in range(items))
    env = os.environ | {"HOTSHELF_DATABASE_SHARDS": ";".join(urls), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "service.cli", "import", str(lines), "--owner", "giant"]
    subprocess.run(command, env=env, cwd=folder, check=True)
    lines.unlink()
    for url in urls:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def _line(rng: random.Random) -> bytes:
    """An item of a catalog in which one of everything is nearly all there is."""
    draw = rng.random
    data: dict[str, Any] = {
        "section": "all" if draw() < 0.97 else f"s{int(1000 * draw())}",
        "price": {"amount": round(10 ** (4 * draw()), 2)},
        "brand": "acme" if draw() < 0.9 else f"b{int(10_000 * draw())}",
        "tags": ["new"] if draw() < 0.99 else ["new", f"t{int(100 * draw())}"],
    }
    kind = draw()
    if kind > 0.01:
        # Seldom of another type, which must neither sort wrong nor fail.
        data["stock"] = "many" if kind < 0.011 else 0 if kind < 0.95 else int(100_000 * draw())
    if draw() < 0.5:
        data["note"] = " ".join(
            rng.choices(("plain", "words", "that", "nobody", "looks", "for"), k=60)
        )
    owned = {} if draw() < 0.9 else {"owner_id": f"owner-{int(1000 * draw())}"}
    return orjson.dumps(owned | {"data": data}, option=orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    main()
