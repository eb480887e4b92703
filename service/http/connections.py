"""Time limits for this process's TCP connections, because Granian does not expose its sockets."""

import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

# Linux doubles the value, and caps it at net.core.wmem_max, by default a bit less than this.
_SEND_BUFFER_BYTES = 256 << 10
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def limit_unread(seconds: float) -> bool:
    """End connections whose client reads nothing for ``seconds``; False before there is a listener.

    Accepted sockets inherit TCP_USER_TIMEOUT (RFC 5482) from the listening socket; it covers closed
    windows as well as lost segments. They inherit the size of the send buffer too: without a limit
    the kernel buffers up to 4 MiB (net.ipv4.tcp_wmem) per connection, which no budget counts.
    """
    found = False
    for each in _sockets():
        if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
            found = True
    return found


def end_connection(client: str) -> bool:
    """End the connection from ``client``, an address and a port as Granian writes them.

    Scans every connection of the process, so use it rarely and in a thread.
    """
    wanted = _address(*client.rsplit(":", 1))
    for each in _sockets():
        with contextlib.suppress(OSError, ValueError):
            host, port = each.getpeername()[:2]
            if _address(host, port) == wanted:
                each.shutdown(socket.SHUT_RDWR)
                return True
    return False


def _address(host: str, port: str | int) -> tuple[str, int]:
    parsed = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    return str(getattr(parsed, "ipv4_mapped", None) or parsed), int(port)


def _sockets() -> Iterator[socket.socket]:
    """A duplicate of each TCP socket, so that its descriptor cannot be reused meanwhile."""
    for link in Path("/proc/self/fd").iterdir():
        try:
            number = os.dup(int(link.name))
        except OSError:
            continue
        try:
            found = socket.socket(fileno=number)
        except OSError:
            os.close(number)
            continue
        with found:
            if found.family in _FAMILIES and found.type == socket.SOCK_STREAM:
                yield found
