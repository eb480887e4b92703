"""Counts the connections of the service's port, because Granian does not report them."""

import asyncio
from contextlib import suppress
from pathlib import Path

_COUNT_EVERY_S = 5.0
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"


class OpenConnections:
    """Counts until it is closed, in a thread, because the kernel's table may be long.

    ``number`` is None in a worker that does not count.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.number: int | None = None
        self._counting: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._counting = asyncio.create_task(self._count())

    async def close(self) -> None:
        if self._counting is not None:
            self._counting.cancel()
            with suppress(asyncio.CancelledError):
                await self._counting

    async def _count(self) -> None:
        while True:
            self.number = await asyncio.to_thread(count_connections, self._port)
            await asyncio.sleep(_COUNT_EVERY_S)


def count_connections(port: int) -> int:
    """The number of established connections with this local port."""
    suffix, found = f":{port:04X}", 0
    for table in _TABLES:
        if not table.exists():
            continue
        with table.open() as lines:
            for line in lines:
                fields = line.split(None, 4)
                found += fields[3] == _ESTABLISHED and fields[1].endswith(suffix)
    return found
