"""Bytes counted while clients read their answers, and the end of connections that do not."""

import asyncio
import socket
from typing import Any

import pytest
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # no __all__

from service.api.request import LARGE_BYTES, Reply
from service.flow.byte_budget import ByteBudget
from service.http.connections import end_connection, limit_unread
from service.http.sending import Sending
from service.model.errors import Overloaded

LARGE = Reply(200, [("content-type", "text/plain")], b"x" * (LARGE_BYTES + 1))


class Exchange:
    """An exchange whose stream is taken when the test says so."""

    def __init__(self) -> None:
        self.is_taken = False
        self.pieces: list[bytes] = []
        self.headers: dict[str, str] = {}

    def response_bytes(self, _status: int, _headers: object, body: bytes) -> None:
        self.pieces.append(body)

    def response_stream(self, _status: int, headers: list[tuple[str, str]]) -> "Exchange":
        self.headers = dict(headers)
        return self

    async def send_bytes(self, data: bytes) -> None:
        if self.is_taken:
            raise ProtocolClosed
        self.pieces.append(data)


def _sent(sending: Sending, reply: Reply, client: str = "127.0.0.1:1") -> Any:
    exchange: Any = Exchange()
    sending.send(exchange, client, "alice", reply)
    return exchange


def test_a_large_answer_is_counted_until_it_is_taken() -> None:
    async def scenario() -> None:
        sending = Sending(ByteBudget("answers", 1 << 20), 30)
        exchange = _sent(sending, LARGE)
        await asyncio.sleep(0.05)
        assert sending.budget.used_bytes == len(LARGE.body)
        assert b"".join(exchange.pieces) == LARGE.body
        assert exchange.headers["content-length"] == str(len(LARGE.body))
        exchange.is_taken = True
        while sending.budget.used_bytes:  # noqa: ASYNC110 - seen from outside only
            await asyncio.sleep(0.01)
        assert sending.ended == 0

    asyncio.run(scenario())


def test_a_small_answer_is_sent_at_once_and_not_counted() -> None:
    sending = Sending(ByteBudget("answers", 1 << 20), 30)
    exchange = _sent(sending, Reply(200, [], b"x" * LARGE_BYTES))
    assert (len(exchange.pieces[0]), sending.budget.used_bytes) == (LARGE_BYTES, 0)


def test_nothing_is_sent_where_too_much_waits() -> None:
    async def scenario() -> None:
        sending = Sending(ByteBudget("answers", 100_000), 30)
        _sent(sending, LARGE)
        with pytest.raises(Overloaded):
            _sent(sending, LARGE)

    asyncio.run(scenario())


def test_a_connection_that_takes_too_long_is_ended() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, (host, port) = listener.accept()
            with client, server:
                sending = Sending(ByteBudget("answers", 1 << 20), 0.05)
                _sent(sending, LARGE, f"{host}:{port}")
                while not sending.ended or sending.budget.used_bytes:  # noqa: ASYNC110 - the same
                    await asyncio.sleep(0.01)
                assert client.recv(1) == b""

    asyncio.run(scenario())


def test_a_connection_is_found_by_its_client() -> None:
    assert not end_connection("127.0.0.1:1")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, address = listener.accept()
        with client, server:
            assert end_connection(f"[{address[0]}]:{address[1]}")
            assert client.recv(1) == b""


def test_limits_are_inherited_from_the_listening_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert limit_unread(7)
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert server.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 512 << 10
