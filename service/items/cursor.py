"""Cursors: authenticated positions in a list, which clients send back.

A cursor is a position and a message authentication code over position, list and caller, so a cursor
of another list or caller is refused like a forged one. The format must not change between releases,
because clients keep cursors across deploys.
"""

import base64
import hmac
import re
from collections.abc import Awaitable, Callable

from service.model.errors import InvalidCursor, Location
from service.model.query import Position, Query, format_path

_CODE_BYTES = 16
_ID_BYTES = 16
_MAX_CHARACTERS = 8192
_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PURPOSE = b"hotshelf list cursor 1"

# Bits of the byte between code and id.
_BACKWARDS, _INCLUSIVE, _HAS_KEY = 1, 2, 4


class Cursors:
    """Encodes and decodes cursors. ``load_secret`` is called once, at the first use."""

    def __init__(self, load_secret: Callable[[], Awaitable[bytes]]) -> None:
        self._load_secret = load_secret
        self._secret: bytes | None = None

    async def open(self) -> None:
        """Load the secret; call it first. Raises ShardUnavailable, DatabaseTimeout."""
        if self._secret is None:
            self._secret = await self._load_secret()

    def encode(self, position: Position, query: Query, subject: str) -> str:
        """The cursor of a position in a list of ``subject``'s."""
        flags = _BACKWARDS * position.backwards | _INCLUSIVE * position.inclusive
        key = b""
        if position.key is not None:
            flags |= _HAS_KEY
            key = position.key.encode()
        payload = bytes([flags]) + position.item_id + key
        return _text(self._code(payload, query, subject) + payload)

    def decode(self, cursor: str, query: Query, subject: str, where: Location) -> Position:
        """The position. Raises InvalidCursor, at ``where``, for any other text."""
        content = _content(cursor)
        code, payload = content[:_CODE_BYTES], content[_CODE_BYTES:]
        if not hmac.compare_digest(code, self._code(payload, query, subject)) or not payload:
            raise InvalidCursor("The cursor was not made for this list and this caller.", where)
        flags, item_id, key = payload[0], payload[1 : 1 + _ID_BYTES], payload[1 + _ID_BYTES :]
        return Position(
            key.decode() if flags & _HAS_KEY else None,
            item_id,
            bool(flags & _BACKWARDS),
            bool(flags & _INCLUSIVE),
        )

    def _code(self, payload: bytes, query: Query, subject: str) -> bytes:
        assert self._secret is not None
        parts = (_PURPOSE, subject.encode(), *_identity(query), payload)
        content = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, content, "sha256")[:_CODE_BYTES]


def _identity(query: Query) -> list[bytes]:
    """The identity of a list: its order, its filters, sorted, and its collection unless it is 0."""
    sort = ("-" if query.sort.descending else "") + format_path(query.sort.path)
    conditions = sorted(
        "\0".join((format_path(one.path), one.operator, *map(str, one.values)))
        for one in query.conditions
    )
    collection = query.extent.collection
    of = [f"collection {collection}".encode()] if collection else []
    return [sort.encode(), *(condition.encode() for condition in conditions), *of]


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _content(cursor: str) -> bytes:
    """The bytes of a cursor; empty unless its text is exactly that of ``_text``."""
    if len(cursor) > _MAX_CHARACTERS or not _ALPHABET.fullmatch(cursor) or len(cursor) % 4 == 1:
        return b""
    content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    # Because unused bits of the last character would allow several texts of one cursor.
    return content if _text(content) == cursor else b""
