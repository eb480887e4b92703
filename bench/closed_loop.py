"""A small HTTP/1.1 load generator: each connection sends its next request after an answer."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

from bench.processes import cpu_s
from tests.fixtures.running import RunningService

Requests = Callable[[], Iterator[bytes]]


class _Client(asyncio.Protocol):
    """One keep-alive connection. Answers must carry Content-Length, or be 204 or 304."""

    def __init__(self, requests: Iterator[bytes], wanted: bytes, until_s: float) -> None:
        self._requests = requests
        self._wanted = wanted
        self._until_s = until_s
        self._input = b""
        self.answers = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._input += data
        head, ended, rest = self._input.partition(b"\r\n\r\n")
        if not ended:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        if not head.startswith(self._wanted):
            self._end(AssertionError(self._input[:2000]))
            return
        self._input = b""
        self.answers += 1
        if perf_counter() < self._until_s:
            self._transport.write(next(self._requests))
        else:
            self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server closed the connection"))

    def _end(self, error: Exception | None) -> None:
        self._transport.abort()
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


async def throughput(
    port: int, requests: Requests, status: int, connections: int, seconds: float
) -> float:
    """Answers per second. Raises AssertionError at the first answer of another status."""
    wanted = b"HTTP/1.1 %d " % status
    begun = perf_counter()
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: _Client(requests(), wanted, begun + seconds), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return sum(client.answers for client in clients) / (perf_counter() - begun)


def read_cost_us(
    service: RunningService, token: str, paths: Sequence[str], connections: int, seconds: float
) -> float:
    """CPU time of the whole service for one GET of ``paths``, which are asked in turn."""
    head = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    requests = [f"GET {path} {head}\r\n".encode() for path in paths]
    port = urlsplit(service.url).port
    assert port is not None
    before = cpu_s(service.process.pid)
    rate = asyncio.run(
        throughput(port, lambda: itertools.cycle(requests), 200, connections, seconds)
    )
    return (cpu_s(service.process.pid) - before) / (rate * seconds) * 1e6
