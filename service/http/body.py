"""Request bodies: read as they arrive, decompressed, both under the same size limit.

Granian's ``async for chunk in proto`` yields (RFC 9112 section 7) every piece of content, then one
empty ``bytes`` for the end. A lost connection or a malformed chunk
raises nothing; it yields a second empty ``bytes``. So does a trailer section, which this
service therefore refuses too (RFC 9110 section 6.5.1 would let it be dropped).

``await proto()`` gives the whole content at once, which costs less. It is used only where
Content-Length bounds the size.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Awaitable, Mapping
from typing import Self

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # no __all__

from service import native
from service.api.request import Exchange
from service.flow.byte_budget import ByteBudget, Lease
from service.flow.deadline import TimeLimit
from service.flow.offload import BESIDE_THE_LOOP
from service.model.errors import (
    BodyTimeout,
    BodyTooLarge,
    IncompleteBody,
    InvalidSyntax,
    Location,
    UnsupportedMediaType,
)

# The largest expansion of deflate (RFC 1951): output bytes per input byte.
_MAX_EXPANSION = 1032
# Bytes read and written by decompression on the event loop, about 0.3 ms. More runs in a thread,
# because other requests would wait for it.
_ON_LOOP_BYTES = (1 << 20) + (64 << 10)


# After an answer before the end of the body, this much of the rest is read and dropped.
_DROPPED_MAX_BYTES = 16 << 20
_DROPPING_S = 2.0
# For bodies up to this size the announced length is leased at once.
_AT_ONCE_BYTES = 64 << 10


class _Chunks:
    """The pieces from Granian's iterator, because that one cannot be iterated over again."""

    __slots__ = ("_inner",)

    def __init__(self, exchange: AsyncIterable[bytes]) -> None:
        self._inner = aiter(exchange)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._inner.__anext__()


class Body:
    """One request's body: ``read`` it once; ``drop`` what was not read, once it was answered.

    ``is_unread``: there may be more of it, and no reason not to wait for it.
    """

    __slots__ = ("_chunks", "_exchange", "_headers", "_lease", "_limit", "_max_bytes", "is_unread")

    def __init__(
        self,
        headers: Mapping[str, list[str]],
        exchange: Exchange,
        max_bytes: int,
        limit: TimeLimit,
        lease: Lease | None = None,
    ) -> None:
        self._headers = headers
        self._exchange = exchange
        # Kept, because the exchange has only one iterator.
        self._chunks: _Chunks | None = None
        self._max_bytes = max_bytes
        self._limit = limit
        self._lease = lease or ByteBudget("bodies", max_bytes * 4).lease()
        announced = "content-length" in headers or "transfer-encoding" in headers
        # A client that expects 100 (Continue) sends nothing after a final answer.
        self.is_unread = announced and "expect" not in headers

    async def read(self, max_bytes: int | None = None) -> bytes:
        """The whole content, decompressed; ``max_bytes`` is the endpoint's limit where it has one.

        What arrived counts against the budget until the request is answered. Raises Overloaded,
        BodyTooLarge, BodyTimeout, IncompleteBody, InvalidSyntax (not gzip although it says so) or
        UnsupportedMediaType (another content coding).
        """
        if max_bytes is not None:
            self._max_bytes = min(self._max_bytes, max_bytes)
        compressed = _is_gzip(self._headers)
        announced = self._headers.get("content-length")
        chunked = "transfer-encoding" in self._headers
        if announced is None and not chunked:
            return await self._decompress(b"") if compressed else b""
        if announced is not None and int(announced[0]) > self._max_bytes:
            raise _too_large(self._max_bytes)
        try:
            with self._limit.wait():
                content = await self._receive(announced)
        except TimeoutError:
            self.is_unread = False
            raise BodyTimeout(
                f"The body did not arrive within {self._limit.seconds:g} seconds."
            ) from None
        return await self._decompress(content) if compressed else content

    async def drop(self) -> None:
        """Read on after an early answer, for a while.

        Otherwise the connection would be reset under a client that still sends, and the answer be
        lost with it (RFC 9112 section 9.6).
        """
        dropped_bytes = 0
        with contextlib.suppress(TimeoutError, ProtocolClosed):
            async with asyncio.timeout(_DROPPING_S):
                async for chunk in self._chunks or self._exchange:
                    dropped_bytes += len(chunk)
                    if not chunk or dropped_bytes > _DROPPED_MAX_BYTES:
                        return

    async def _receive(self, announced: list[str] | None) -> bytes:
        # Long ones piece by piece, because bytes that were only announced must not use up the
        # budget.
        if announced is None or int(announced[0]) > _AT_ONCE_BYTES:
            return await self._receive_chunks()
        self._lease.grow(int(announced[0]))
        self.is_unread = False
        try:
            return await self._exchange()
        except ProtocolClosed:
            raise _incomplete() from None

    async def _receive_chunks(self) -> bytes:
        pieces: list[bytes] = []
        size = ends = 0
        self._chunks = _Chunks(self._exchange)
        async for chunk in self._chunks:
            ends += not chunk
            size += len(chunk)
            if size > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._lease.grow(len(chunk))
            pieces.append(chunk)
        self.is_unread = False
        if ends != 1:
            raise _incomplete()
        return b"".join(pieces)

    async def _decompress(self, compressed: bytes) -> bytes:
        """One or more gzip members with nothing after them (RFC 1952 section 2.2)."""
        decompressed_bytes = min(self._max_bytes, len(compressed) * _MAX_EXPANSION)
        self._lease.grow(decompressed_bytes)
        try:
            if len(compressed) + decompressed_bytes <= _ON_LOOP_BYTES:
                content = native.gunzip(compressed, self._max_bytes)
            else:
                content = await BESIDE_THE_LOOP.run(native.gunzip, compressed, self._max_bytes)
            self._lease.shrink(decompressed_bytes - len(content))
            return content
        except native.GunzipTooLarge:
            raise _too_large(self._max_bytes) from None
        except native.GunzipMalformed:
            raise InvalidSyntax("The body is not valid gzip, or ends too early.") from None


def _is_gzip(headers: Mapping[str, list[str]]) -> bool:
    """Whether Content-Encoding is gzip, not absent (RFC 9110 section 8.4.1)."""
    if "content-encoding" not in headers:
        return False
    listed = ",".join(headers["content-encoding"]).split(",")
    codings = [coding for coding in (item.strip().lower() for item in listed) if coding]
    if codings in ([], ["identity"]):
        return False
    if codings in (["gzip"], ["x-gzip"]):
        return True
    raise UnsupportedMediaType(
        "The content coding of the body is not supported.",
        Location("Use gzip or identity.", header="content-encoding"),
        extra={"accept_encoding": "gzip, identity"},
    )


def _incomplete() -> IncompleteBody:
    return IncompleteBody(
        "The body ended before its announced length or last chunk, or has trailer fields."
    )


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body is larger than {max_bytes} bytes.", extra={"max_bytes": max_bytes}
    )
