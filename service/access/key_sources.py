"""Where key sets come from: a file, or an issuer's URL."""

import asyncio
from pathlib import Path

from service.access.key_set import KeySetError, Source

_MAX_BYTES = 256 * 1024
_TIMEOUT_S = 5.0
_HEADERS = {
    "accept": "application/jwk-set+json, application/json",
    "accept-encoding": "identity",
    "user-agent": "hotshelf",
}


def file_source(path: Path) -> Source:
    """Reads the file at each load; raises OSError if it is missing."""

    def read() -> bytes:
        with path.open("rb") as file:
            return _capped(file.read(_MAX_BYTES + 1))

    async def load() -> bytes:
        return await asyncio.to_thread(read)

    return load


class HttpKeySource:
    """A JWK Set by http(s). One deadline covers name resolution, connecting and the whole body.

    Redirects are not followed and no content coding is accepted, because they could lead to another
    host than the configured one, or past the size limit.
    """

    def __init__(self, url: str) -> None:
        # Imported here, because few installations need it, and not during a request, because it
        # takes 0.2 s.
        import aiohttp

        self._aiohttp = aiohttp
        self._url = url

    async def __call__(self) -> bytes:
        """The document. Raises KeySetError, whose text quotes nothing of the answer."""
        try:
            return await self._fetch()
        except (self._aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise KeySetError(f"{self._url}: {type(error).__name__}") from None

    async def _fetch(self) -> bytes:
        session = self._aiohttp.ClientSession(
            timeout=self._aiohttp.ClientTimeout(total=_TIMEOUT_S),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=True,
        )
        async with session, session.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise KeySetError(f"{self._url}: status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(16 * 1024):
                body += chunk
                _capped(body)
            return bytes(body)


def _capped(body: bytes | bytearray) -> bytes:
    if len(body) > _MAX_BYTES:
        raise KeySetError(f"more than {_MAX_BYTES} bytes")
    return bytes(body)
