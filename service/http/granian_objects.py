"""What is used of the objects that Granian hands over (RSGI 1.6)."""

from collections.abc import AsyncIterable, Awaitable
from typing import Protocol


class Headers(Protocol):
    """Granian's view of the header section; values that are not ASCII are left out of items.

    Its length is the number of names, those of such values too; what cannot be seen is one such
    line beside others of the same name.
    """

    def __len__(self) -> int: ...
    def keys(self) -> list[str]: ...
    def items(self) -> list[tuple[str, str]]: ...


class Scope(Protocol):
    """The part of Granian's scope that is read here."""

    client: str
    scheme: str
    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> Headers: ...


class Exchange(AsyncIterable[bytes], Protocol):
    """Granian's protocol object: the body comes out of it, the answer goes into it."""

    def __call__(self) -> Awaitable[bytes]: ...
    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
