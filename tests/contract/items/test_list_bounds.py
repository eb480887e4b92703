"""Lists that take long leave connections to reads and writes, and turns to other callers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg

from service.api.list_items import ListItems
from service.api.represent.item_reply import ItemReplies
from service.api.request import RequestContext
from service.items.collection_indexes import CollectionIndexes
from service.items.collections import Collections
from service.items.cursor import Cursors
from service.items.pages import Pages
from service.model.caller import Caller
from service.model.collection import items_collection
from service.model.query import Query
from service.settings import Database
from service.store.list_reads import ListReads
from service.store.node_bulkheads import NodeBulkheads
from tests.fixtures.lists import RELATIVE
from tests.fixtures.stack import execute
from tests.fixtures.writers import opened

WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND datname = current_database()"""


@contextmanager
def _locked(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Every list of these items waits in the server while this lasts."""
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        yield holder


async def _settles(database: Database) -> int:
    """How many lists wait in the server once no more come."""
    found = -1
    while True:
        await asyncio.sleep(0.3)
        [[now]] = await asyncio.to_thread(execute, database.shards[0][0], WAITING)
        if now == found and now > 0:
            return found
        found = int(str(now))


def test_lists_leave_connections_to_others(fresh: Database) -> None:
    settings = replace(fresh, pool_size=4, timeout_s=20.0)

    async def run() -> None:
        async with opened(settings) as shards:
            reads = ListReads(NodeBulkheads(1000), 2)
            pages = Pages(shards, reads, settings.timeout_s, 2)
            with _locked(fresh.shards[0][0]) as holder:
                lists = [
                    asyncio.ensure_future(pages.read(Query(), frozenset(), None, 10))
                    for _ in range(8)
                ]
                assert await _settles(fresh) == 2
                async with shards.all[0].primary() as first, shards.all[0].primary() as second:
                    await first.execute("SELECT 1")
                    await second.execute("SELECT 1")
                holder.rollback()
                await asyncio.gather(*lists)

    asyncio.run(run())


def _context(subject: str) -> RequestContext:
    async def read_body(_: int | None = None) -> bytes:
        return b""

    caller = Caller(subject, frozenset({"items:read"}))
    return RequestContext(
        "GET", "http", "/v1/items", "", {}, "127.0.0.1", "test", read_body, caller
    )


def test_lists_of_one_caller_leave_turns_to_others(fresh: Database) -> None:
    settings = replace(fresh, pool_size=20, timeout_s=20.0)

    async def run() -> None:
        async def secret() -> bytes:
            return b"secret"

        async with opened(settings) as shards:
            reads = ListReads(NodeBulkheads(1000), 10)
            pages = Pages(shards, reads, settings.timeout_s, 2)
            collections = Collections(items_collection(), shards.all)
            indexes = CollectionIndexes(collections, shards, settings)
            lists = ListItems(pages, Cursors(secret), ItemReplies("no-cache", RELATIVE), indexes)
            callers = ["alice"] * 6 + ["bob"]
            with _locked(fresh.shards[0][0]) as holder:
                asked = [asyncio.ensure_future(lists.get(_context(who))) for who in callers]
                assert await _settles(fresh) == 3
                holder.rollback()
                replies = await asyncio.gather(*asked)
            assert [reply.status for reply in replies] == [200] * 7

    asyncio.run(run())
