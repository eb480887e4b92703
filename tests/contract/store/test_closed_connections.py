"""Connections that end while they are used, waited for, or idle in the pool."""

import asyncio
import subprocess
import sys

from service.settings import Database
from service.store.list_reads import ListReads, Statement
from service.store.node_bulkheads import NodeBulkheads
from tests.fixtures.stack import execute
from tests.fixtures.writers import opened

_END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()"""

# In a process apart, because libuv aborts it. After a stall of the event loop a waiting task begins
# to wait again, and the deadline closes its connection, in one turn of the loop.
CLOSES = """
import asyncio
import sys

import uvloop

from service.store.connection import Connection


async def main() -> None:
    connection = await Connection.connect(sys.argv[1], autocommit=True)
    connection.get_ready()
    asyncio.get_running_loop().add_reader(connection.fileno(), print)
    await connection.close()
    await asyncio.sleep(0.1)
    print("goes on")


uvloop.run(main())
"""


def test_the_process_survives(fresh: Database) -> None:
    command = [sys.executable, "-c", CLOSES, fresh.shards[0][0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "goes on\n", (done.returncode, done.stderr)


def test_a_list_after_a_restart_of_the_server_is_answered(fresh: Database) -> None:
    """Although every pooled connection has ended with the server's last run."""
    asked = Statement(b"SELECT pg_backend_pid()", {}, None)

    async def scenario() -> None:
        async with opened(fresh) as shards:
            lists = ListReads(NodeBulkheads(limit=10), connections=3)
            shard = shards.all[0]
            before = await asyncio.gather(*(lists.rows(shard, asked, 5.0) for _ in range(3)))
            await asyncio.to_thread(execute, fresh.shards[0][0], _END_OTHERS)
            after = await asyncio.gather(*(lists.rows(shard, asked, 5.0) for _ in range(3)))
            assert {row for rows in before for row in rows}.isdisjoint(after[0])

    asyncio.run(scenario())
