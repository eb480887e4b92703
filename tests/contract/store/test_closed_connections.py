"""Connections that end while they are used, waited for, or idle in the pool."""

import asyncio
import contextlib
import subprocess
import sys
from dataclasses import replace

from service.settings import Database
from service.store.nodes import Node
from tests.fixtures.stack import execute

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


def test_connections_that_the_server_ended_are_not_handed_out(fresh: Database) -> None:
    async def scenario() -> None:
        node = Node(fresh.shards[0][0], fresh)
        await node.open()
        try:
            async with contextlib.AsyncExitStack() as lent:
                several = [
                    await lent.enter_async_context(node.connection(reading=True)) for _ in range(3)
                ]
                ids = {each.info.backend_pid for each in several}
            assert len(ids) == 3
            for pid in ids:
                execute(fresh.shards[0][0], f"SELECT pg_terminate_backend({pid}, 5000)")
            for _ in range(6):
                async with node.connection(reading=True) as connection:
                    [(pid,)] = await (
                        await connection.execute("SELECT pg_backend_pid()")
                    ).fetchall()
                    assert pid not in ids
        finally:
            await node.close()

    asyncio.run(scenario())


def test_a_notice_leaves_an_idle_connection_as_it_is(fresh: Database) -> None:
    async def scenario() -> None:
        node = Node(fresh.shards[0][0], replace(fresh, pool_size=1))
        await node.open()
        try:
            async with node.connection(reading=True) as connection:
                await connection.execute("LISTEN here")
                before = connection.info.backend_pid
            execute(fresh.shards[0][0], "NOTIFY here")
            async with node.connection(reading=True) as connection:
                assert connection.info.backend_pid == before
        finally:
            await node.close()

    asyncio.run(scenario())
