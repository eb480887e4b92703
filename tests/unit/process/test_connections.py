"""How many connections a port has."""

import socket
from contextlib import ExitStack

from service.process.connections import count_connections


def test_established_connections_of_the_port_are_counted() -> None:
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        assert count_connections(port) == 0
        for _ in range(3):
            opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            opened.enter_context(listener.accept()[0])
        assert count_connections(port) == 3
