"""What the parts of a hit cost: an entry read and written, the near cache, a breaker's word.

`pytest bench/test_parts_cache.py`.
"""

import asyncio
import time
from datetime import UTC, datetime

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from service.cache.connection import Connection
from service.cache.layout import ITEM, ItemEntry, encode_item, kind_of
from service.cache.near import NearCache
from service.flow.breaker import Breaker
from service.model.item import Item

ITEM_ID = bytes(range(16))
DATA = b'{"description": "%b"}' % (b"x" * 760)
BODY = b'{"id":"00041061050R3GG28A1C60T3GF","data":%b}' % DATA
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
STORED = Item(ITEM_ID, "alice", 7, MOMENT, MOMENT, DATA)
VALUE = encode_item(1, STORED, BODY, BODY.index(DATA), 1_800_000_000)


def test_entry_decode(benchmark: BenchmarkFixture) -> None:
    assert benchmark(ItemEntry, VALUE).version == 7


def test_entry_kind(benchmark: BenchmarkFixture) -> None:
    assert benchmark(kind_of, VALUE, 1) == ITEM


def test_entry_encode(benchmark: BenchmarkFixture) -> None:
    value = benchmark(encode_item, 1, STORED, BODY, BODY.index(DATA), 1_800_000_000)
    assert value == VALUE


def test_entry_back_to_an_item(benchmark: BenchmarkFixture) -> None:
    assert benchmark(ItemEntry(VALUE).item, ITEM_ID) == STORED


def _near(ids: int) -> NearCache[str]:
    near: NearCache[str] = NearCache(64 << 20, lambda: 0.0)
    near.subscribed(True)
    for number in range(ids):
        near.store(number.to_bytes(16), near.ticket(), "value", len(VALUE))
    return near


def test_near_hit(benchmark: BenchmarkFixture) -> None:
    near: NearCache[str] = NearCache(64 << 20)
    near.subscribed(True)
    near.store(ITEM_ID, near.ticket(), "value", len(VALUE))
    assert benchmark(near.get, ITEM_ID) == "value"


def test_near_miss(benchmark: BenchmarkFixture) -> None:
    assert benchmark(_near(10_000).get, ITEM_ID) is None


def test_near_store_while_full(benchmark: BenchmarkFixture) -> None:
    near = _near(100_000)
    numbers = iter(range(100_000, 1 << 60))

    def store() -> bool:
        return near.store(next(numbers).to_bytes(16), near.ticket(), "value", len(VALUE))

    assert benchmark(store)


def test_breaker_call(benchmark: BenchmarkFixture) -> None:
    breaker = Breaker(time.monotonic)

    def call() -> bool:
        ticket = breaker.admit()
        assert ticket is not None
        breaker.report(ticket, ok=True, took_s=0.001)
        return True

    assert benchmark(call)


class _Deaf(asyncio.Transport):
    """Takes what is written and does nothing with it."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def abort(self) -> None:
        pass


@pytest.mark.parametrize("commands", [1, 16])
def test_a_tick_written_and_answered(benchmark: BenchmarkFixture, commands: int) -> None:
    """As the pipeline does it, its breaker's word included; all but the socket."""
    replies: list[object] = []
    breaker = Breaker(time.monotonic)
    ticket = breaker.admit()
    assert ticket is not None

    async def body() -> None:
        def answered(took_s: float) -> None:
            breaker.report(ticket, ok=True, took_s=took_s)

        connection = Connection(60.0, lambda _: None, on_answered=answered)
        connection.connection_made(_Deaf())
        packed, callbacks = [b""] * commands, [replies.append] * commands
        received = b"$1\r\nx\r\n" * commands

        def tick() -> None:
            connection.write(packed, callbacks)
            connection.data_received(received)
            replies.clear()

        benchmark(tick)
        connection.abort("The measurement ends.")

    uvloop.run(body())
