"""What a page of a list costs by where it lies, and by how many items there are.

Two shards on this machine, durable, seeded by `hotshelf seed`; pages of 20 items through the
list endpoint's own code, without HTTP. What is compared takes turns page by page, so whatever
else the machine does meets both. Figures are ratios of medians; plans go to the result file.

    python -m bench.bench_lists                                depth 1 ÷ depth 100,000
    python -m bench.bench_lists --sizes 100000 10000000        large ÷ small (make bench-scale)
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from bench import machine
from service.api.list_query import from_query_string
from service.embedded import EmbeddedStack
from service.items.pages import PAGE_MAX_BYTES, traversal
from service.model.query import parse_attributes
from service.settings import Database
from service.store.lists import page_statement
from service.store.migrate import migrate
from tests.fixtures.lists import ListService, content
from tests.fixtures.stack import short_directory

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
ATTRIBUTES = ("price.amount", "section", "stock")
DEPTH = 100_000
DEPTH_TARGET, SCALE_TARGET = 1.1, 1.2

SORTS = ("id", "-id", "-created_at", "stock", "-price.amount")
LISTS = {
    "newest": "sort=-id",
    "by price": "sort=-price.amount",
    "equal, sorted by the same": "filter[section]={section}&sort=section",
    "range, sorted by the same": "filter[stock][gte]=50&sort=stock",
    "one owner's": "filter[owner_id]={owner}",
    "equal, undeclared": "filter[sku]={sku}",
}
# Much or nothing is found, or found late: each answers, or says in time that it cannot.
HARD = (
    "filter[section]={section}",
    "filter[section]={section}&sort=-id&filter[name][contains]=zzzz",
    "filter[owner_id]={owner}&sort=-stock",
    "filter[owner_id]=nobody&sort=-stock",
    "filter[stock][gte]=0&filter[nothing][exists]=true",
    "filter[price.amount][ne]=0&filter[stock][gte]=0",
    "filter[section][in]={section},none&filter[stock][nin]=1,2,3",
    "filter[section][prefix]=&filter[tags][contains]=none",
    "filter[brand]=nobody",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=300)
    args = parser.parse_args()
    where = machine.describe()
    measured = {}
    with seeded(args.sizes) as services:
        if len(services) > 1:
            measured["scale"] = scale(services, args.rounds)
        largest = services[max(args.sizes)]
        measured["depth"] = depth(largest, min(DEPTH, max(args.sizes) // 2), args.rounds)
        measured["plans"] = plans(largest)
        measured["hard"] = hard(largest)
    name = "lists-scale" if len(args.sizes) > 1 else "lists"
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": where, "sizes": args.sizes, "rounds": args.rounds} | measured
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    report(measured)


@contextmanager
def seeded(sizes: list[int]) -> Iterator[dict[int, ListService]]:
    """A list service for each number of items, each over databases of its own."""
    folder = short_directory()
    services: dict[int, ListService] = {}
    try:
        with EmbeddedStack(folder / "stack", replicas=0) as stack:
            for size in sizes:
                urls = [_database(shard[0], f"items_{size}") for shard in stack.shards]
                database = Database(shards=tuple((url,) for url in urls))
                migrate(database, attributes=parse_attributes(ATTRIBUTES))
                _seed(urls, folder, size)
                services[size] = ListService(urls, 5.0, database.buckets, ATTRIBUTES)
            yield services
            for service in services.values():
                service.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    return server.rpartition("/")[0] + f"/{name}"


def _seed(urls: list[str], folder: Path, size: int) -> None:
    env = os.environ | {"HOTSHELF_DATABASE_SHARDS": ";".join(urls), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "service.cli", "seed", "--items", str(size)]
    subprocess.run(command, env=env, cwd=folder, check=True)
    for url in urls:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def depth(service: ListService, behind: int, rounds: int) -> dict[str, Any]:
    """Per sort the medians, in ms, of the pages behind one item and behind many.

    The first page, which has no cursor to check and none to go back, is there to compare.
    """
    found = {}
    for sort in SORTS:
        near = content(service.get(f"sort={sort}&limit=1"))["next_cursor"]
        far = _cursor_at(service, sort, behind)
        queries = [f"sort={sort}", *(f"sort={sort}&cursor={cursor}" for cursor in (near, far))]
        first, shallow, deep = _medians([partial(service.get, q) for q in queries], rounds)
        found[sort] = {
            "first_ms": first,
            "shallow_ms": shallow,
            "deep_ms": deep,
            "ratio": round(deep / shallow, 3),
        }
    return found


def scale(services: dict[int, ListService], rounds: int) -> dict[str, Any]:
    """Per list the medians, in ms, by the number of items."""
    small, large = services[min(services)], services[max(services)]
    found = {}
    for name, query in LISTS.items():
        asks = [partial(s.get, _filled(query, s)) for s in (small, large)]
        medians = _medians(asks, rounds)
        found[name] = {
            "small_ms": medians[0],
            "large_ms": medians[1],
            "ratio": round(medians[1] / medians[0], 3),
        }
    return found


def hard(service: ListService) -> dict[str, Any]:
    """How lists that are allowed but heavy end, and after how long."""
    found = {}
    for query in HARD:
        began = time.perf_counter()
        reply = service.get(_filled(query, service))
        took_s = time.perf_counter() - began
        outcome = content(reply).get("code", reply.status)
        assert outcome in (200, "query-too-expensive"), reply
        found[query] = {"outcome": outcome, "took_s": round(took_s, 3)}
    return found


def plans(service: ListService) -> dict[str, list[str]]:
    """The first shard's plan of each list, as it was executed."""
    found = {}
    for query in (*LISTS.values(), *HARD[:1]):
        asked = from_query_string(_filled(query, service), 1).query
        declared = frozenset(parse_attributes(ATTRIBUTES))
        scans = traversal(asked.sort, None)
        statement = page_statement(asked, scans, declared, 21, PAGE_MAX_BYTES)
        with psycopg.connect(service.urls[0], options="-c jit=off") as connection:
            explain = b"EXPLAIN (ANALYZE, BUFFERS, SUMMARY) " + statement.text
            rows = connection.execute(explain, statement.values).fetchall()
        found[query] = [row[0] for row in rows]
    return found


def _filled(query: str, service: ListService) -> str:
    """The query with an owner, a section and a sku that exist."""
    (first,) = content(service.get("limit=1"))["items"]
    data = first["data"]
    return query.format(owner=first["owner_id"], section=data["section"], sku=data["sku"])


def _cursor_at(service: ListService, sort: str, depth: int) -> str:
    cursor = ""
    for _ in range(depth // 1000):
        sent = {"sort": sort, "limit": 1000, "fields": ""} | ({"cursor": cursor} if cursor else {})
        cursor = content(service.get(urlencode(sent)))["next_cursor"]
    return cursor


def _medians(asks: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in asks]
    for number in range(rounds + 10):
        # The one that goes first changes from round to round.
        for n in range(len(asks)) if number % 2 else reversed(range(len(asks))):
            began = time.perf_counter()
            reply = asks[n]()
            took_ms = (time.perf_counter() - began) * 1000
            assert reply.status == 200, reply
            if number >= 10:
                times[n].append(took_ms)
    return [round(statistics.median(one), 3) for one in times]


def report(measured: dict[str, Any]) -> None:
    for kind, target in (("depth", DEPTH_TARGET), ("scale", SCALE_TARGET)):
        for name, figures in measured.get(kind, {}).items():
            sys.stdout.write(f"{kind:6} {name:28} {figures['ratio']:.3f} (target {target})\n")
    for query, end in measured["hard"].items():
        sys.stdout.write(f"hard   {end['outcome']!s:20} {end['took_s']:.2f} s  {query}\n")


if __name__ == "__main__":
    main()
