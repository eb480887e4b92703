"""Compressed bodies: what decompresses quickly does so on the event loop, the rest in a thread."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from service import native
from service.flow.deadline import TimeLimit
from service.http.body import Body

ITEM_MAX_BYTES, BATCH_MAX_BYTES = 1 << 20, 16 << 20
EMPTY_MEMBER = gzip.compress(b"")
# Compresses by about 1000.
ZEROS = gzip.compress(bytes(4 << 20))


class Sent:
    """A request's content, as Granian hands it over whole."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __call__(self) -> "Sent":
        return self

    def __await__(self) -> Generator[None, None, bytes]:
        yield
        return self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        yield b""

    async def client_disconnect(self) -> None:
        raise NotImplementedError

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        raise NotImplementedError

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        raise NotImplementedError

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("compressed", "max_bytes", "on_loop"),
    [
        (gzip.compress(b'{"data":{}}'), ITEM_MAX_BYTES, True),
        (gzip.compress(b'{"operations":[]}'), BATCH_MAX_BYTES, True),
        (ZEROS, BATCH_MAX_BYTES, False),
        (EMPTY_MEMBER * 1_000, ITEM_MAX_BYTES, True),
        (EMPTY_MEMBER * 10_000, ITEM_MAX_BYTES, False),
    ],
    ids=["item", "batch", "expanding", "members", "very many members"],
)
def test_only_short_work_is_done_on_the_loop(
    compressed: bytes, max_bytes: int, on_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    gunzip = native.gunzip

    def recorded(data: bytes, cap: int) -> bytes:
        threads.append(threading.get_ident())
        return gunzip(data, cap)

    monkeypatch.setattr(native, "gunzip", recorded)

    async def read() -> bytes:
        headers = {"content-encoding": ["gzip"], "content-length": [str(len(compressed))]}
        return await Body(headers, Sent(compressed), max_bytes, TimeLimit(5)).read()

    assert asyncio.run(read()) == gzip.decompress(compressed)
    assert (threads == [threading.get_ident()]) is on_loop
