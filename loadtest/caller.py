"""What every simulated user has: credentials, a pace, and a name for each kind of answer."""

import itertools
import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard
from locust.contrib.fasthttp import (
    FastHttpUser,
    FastResponse,
    LocustUserAgent,
    ResponseContextManager,
)

from loadtest.catalog import Catalog
from loadtest.rows import LIMITED

# Requests a second of a reader; the others' paces are shares of it.
RATE = float(os.environ.get("HOTSHELF_LOAD_RATE", "20"))
# Changes for 100 reads.
WRITES = float(os.environ.get("HOTSHELF_LOAD_WRITES", "1"))
CODINGS = ("identity", "gzip", "br", "zstd")
VERSIONS = ("v1", "v2")
_API_KEY = "hsk_"
_LONGEST_PAUSE_S = 60.0
WORDS = ["library", "package", "format", "runtime", "graphical", "network", "server", "client"]
_TOKENS = Path(os.environ.get("HOTSHELF_LOAD_TOKENS", ".hotshelf/dev-token"))

catalog = Catalog()
_credentials = itertools.cycle(_TOKENS.read_text().split())


class Answer(FastResponse):
    """The client that locust uses knows every coding but zstd."""

    def _content(self) -> bytes:
        if self.headers is None or self.headers.get("content-encoding") != "zstd":
            return super()._content()  # type: ignore[no-any-return, no-untyped-call]
        assert self._response is not None
        coded = self._response.read()
        self.release()
        return zstandard.ZstdDecompressor().decompressobj().decompress(coded)


LocustUserAgent.response_type = Answer


class Caller(FastHttpUser):
    """One client. A limiter's 429 has a row of its own and is no failure; it then waits."""

    abstract = True
    connection_timeout = network_timeout = 30.0

    def on_start(self) -> None:
        own = next(_credentials)
        self.credentials = (
            {"X-API-Key": own} if own.startswith(_API_KEY) else {"Authorization": f"Bearer {own}"}
        )

    @contextmanager
    def send(
        self,
        method: str,
        path: str,
        good: tuple[int, ...],
        name: str,
        fields: dict[str, str] | None = None,
        body: Any = None,
    ) -> Iterator[ResponseContextManager | None]:
        """The answer, if its status is a ``good`` one; any other but 429 is a failure.

        ``name`` is its row in the figures. ``path`` is what follows the server's name.
        """
        retry_after_s = 0.0
        with self.client.request(
            method,
            path,
            name=name,
            headers=self.credentials | (fields or {}),
            json=body,
            catch_response=True,
        ) as answer:
            if answer.status_code in good:
                answer.success()
                yield answer
            elif answer.status_code == 429:
                answer.request_meta["name"] = LIMITED
                answer.success()
                retry_after_s = float(field(answer, "retry-after") or 1)
                yield None
            else:
                fail(answer, f"{method} answered {answer.status_code}: {answer.text}")
                yield None
        # Of this user only: locust has replaced it by gevent's.
        time.sleep(min(retry_after_s, _LONGEST_PAUSE_S))


def key() -> str:
    """A new idempotency key."""
    return uuid.uuid4().hex


def data() -> dict[str, object]:
    """An item's, of 0.1 to 8 kB."""
    text = " ".join(random.choices(WORDS, k=random.choice((10, 100, 1000))))
    return {
        "name": f"item-{random.randrange(10**6)}",
        "section": random.choice(WORDS),
        "text": text,
    }


def field(answer: ResponseContextManager, name: str) -> str:
    """A header field of the answer, empty where it has none."""
    return "" if answer.headers is None else str(answer.headers.get(name, ""))


def version(answer: ResponseContextManager) -> str:
    """By its entity tag, without the part that differs between content codings."""
    return field(answer, "etag").strip('"').partition("-")[0]


def fail(answer: ResponseContextManager, reason: str) -> None:
    answer.failure(reason)  # type: ignore[no-untyped-call]
