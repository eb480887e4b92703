"""A connection that is closed under a waiting task does not take the process with it."""

import subprocess
import sys

from service.settings import Database

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
