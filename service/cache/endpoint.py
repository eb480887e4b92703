"""The address of Redis, and the handshake of every new connection."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from service.cache.connection import Command, Connection, encode
from service.model.errors import CacheUnavailable


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Redis node. ``path`` is a unix socket and then ``host`` and ``port`` are unused."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None


def parse_url(url: str) -> Endpoint:
    """``redis://``, ``rediss://`` (TLS) or ``unix://``, credentials percent-encoded.

    ``/N`` or ``?db=N`` picks the database. With TLS, ``ssl_ca_certs``, ``ssl_certfile`` and
    ``ssl_keyfile`` name PEM files and ``ssl_cert_reqs=none`` accepts any certificate. Raises
    ValueError without repeating the URL, which may hold a password.
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    is_unix = parts.scheme == "unix"
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("a Redis URL starts with redis://, rediss:// or unix://")
    if not (parts.path if is_unix else parts.hostname):
        raise ValueError("the Redis URL names no host or socket")
    database = options.get("db") or ("" if is_unix else parts.path.strip("/")) or "0"
    if not database.isdecimal():
        raise ValueError("the database of a Redis URL is a number")
    return Endpoint(
        host=parts.hostname or "",
        port=parts.port or 6379,
        path=unquote(parts.path) if is_unix else "",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(database),
        tls=_tls(parts, options),
    )


def _tls(parts: SplitResult, options: dict[str, str]) -> ssl.SSLContext | None:
    if parts.scheme != "rediss":
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    return context


async def connect(
    endpoint: Endpoint,
    make: Callable[[], Connection],
    on_connect: Sequence[Command],
) -> Connection:
    """A connection that speaks RESP3 if Redis can, is logged in, and ran ``on_connect``.

    Raises CacheUnavailable, OSError or TimeoutError. A server that accepts but never answers fails
    at the deadline of the first command.
    """
    loop = asyncio.get_running_loop()
    if endpoint.path:
        _, connection = await loop.create_unix_connection(make, endpoint.path)
    else:
        _, connection = await loop.create_connection(
            make, endpoint.host, endpoint.port, ssl=endpoint.tls
        )
    try:
        await _log_in(connection, endpoint)
        first: list[Command] = [(b"SELECT", b"%d" % endpoint.database)] * (endpoint.database > 0)
        # PING, because it fails while the server loads its data, and HELLO does not.
        await execute(connection, *first, (b"PING",), *on_connect)
    except BaseException:
        connection.abort("The connection to the cache could not be set up.")
        raise
    if connection.lost:
        raise CacheUnavailable("The cache closed the connection.")
    return connection


async def _log_in(connection: Connection, endpoint: Endpoint) -> None:
    username, password = endpoint.username.encode(), endpoint.password.encode()
    hello: Command = (b"HELLO", b"3")
    if password:
        hello += (b"AUTH", username or b"default", password)
    try:
        [greeting] = await execute(connection, hello)
    except CacheUnavailable as error:
        # NOPROTO: no RESP3; ERR: a server or proxy older than HELLO.
        if error.redis_error not in {"NOPROTO", "ERR"}:
            raise
    else:
        if isinstance(greeting, dict) and greeting.get(b"proto") == 3:
            return
    if password:
        await execute(
            connection, (b"AUTH", username, password) if username else (b"AUTH", password)
        )


async def execute(connection: Connection, *commands: Command) -> list[Any]:
    """All replies. Raises the first of them that is a CacheUnavailable."""
    replies: list[Any] = []
    answered = asyncio.get_running_loop().create_future()

    def collect(reply: Any) -> None:
        replies.append(reply)
        if len(replies) == len(commands) and not answered.done():
            answered.set_result(None)

    connection.write([encode(command) for command in commands], [collect] * len(commands))
    await answered
    for reply in replies:
        if isinstance(reply, CacheUnavailable):
            raise reply
    return replies
