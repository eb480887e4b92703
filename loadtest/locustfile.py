"""Mixed load over HTTP: mostly reads, and writers that check that they read what they wrote.

`locust -f loadtest/locustfile.py --host http://127.0.0.1:8080` against any running service;
``HOTSHELF_LOAD_TOKENS`` names a file of bearer tokens, one a line (default: the one that
`make run` leaves). Each simulated user owns a few items and reads everybody's.
"""

import itertools
import os
import random
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from locust import constant_throughput, task
from locust.contrib.fasthttp import FastHttpUser, ResponseContextManager

Body = dict[str, object] | None

_ITEMS_A_USER = 5
_TOKENS = Path(os.environ.get("HOTSHELF_LOAD_TOKENS", ".hotshelf/dev-token"))
_WORDS = ["library", "package", "format", "runtime", "graphical", "network", "server", "client"]
_tokens = itertools.cycle(_TOKENS.read_text().split())
# Everybody's items, the latest few thousand.
_known: deque[str] = deque(maxlen=5000)


class Caller(FastHttpUser):
    """One client at a steady pace. ``own`` and ``tags``: version and tag last acknowledged."""

    wait_time = constant_throughput(float(os.environ.get("HOTSHELF_LOAD_RATE", "20")))
    connection_timeout = network_timeout = 30.0

    def on_start(self) -> None:
        self.authorization = {"Authorization": f"Bearer {next(_tokens)}"}
        self.own: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.seen: dict[str, str] = {}
        for _ in range(_ITEMS_A_USER):
            self.create()

    @task(70)
    def read(self) -> None:
        if not _known:
            return
        item = random.choice(_known)
        with self._send("GET", item, (200, 404), "GET") as answer:
            if answer.status_code == 200:
                self.seen = {item: _field(answer, "etag")}

    @task(15)
    def read_again(self) -> None:
        """A conditional GET of what was read last."""
        for item, tag in self.seen.items():
            fields = {"If-None-Match": tag}
            with self._send("GET", item, (200, 304, 404), "GET if-none-match", fields):
                pass

    @task(6)
    def read_own(self) -> None:
        """The owner's read: never older than the last write that was acknowledged."""
        for item in self._own_item():
            with self._send("GET", item, (200,), "GET own") as answer:
                if answer.status_code == 200 and _version(answer) != self.own[item]:
                    _fail(answer, f"version {self.own[item]} was acknowledged before this read")

    @task(5)
    def replace(self) -> None:
        for item in self._own_item():
            tag = self.tags[item]
            with self._write("PUT", item, 200, "PUT", _body(), **{"If-Match": tag}) as answer:
                self._remember(item, answer, 200)

    @task(3)
    def create(self) -> None:
        """A new item, sent twice with one key: the second answer is the first one again."""
        key, body = {"Idempotency-Key": uuid.uuid4().hex}, _body()
        with self._write("POST", "", 201, "POST", body, **key) as answer:
            if answer.status_code != 201:
                return
            location = _field(answer, "location")
        with self._write("POST", "", 201, "POST again", body, **key) as answer:
            if answer.status_code == 201 and _field(answer, "location") != location:
                _fail(answer, "one key made two items")
            item = location.rpartition("/")[2]
            self._remember(item, answer, 201)
        _known.append(item)

    @task(1)
    def delete(self) -> None:
        """Brings the number of own items back to where it was."""
        for item in list(self.own)[:-_ITEMS_A_USER]:
            with self._write("DELETE", item, 204, "DELETE"):
                del self.own[item], self.tags[item]

    def _own_item(self) -> list[str]:
        return random.sample(list(self.own), min(1, len(self.own)))

    def _remember(self, item: str, answer: ResponseContextManager, good: int) -> None:
        """After an answer that is not the good one nobody knows: let the item go."""
        self.own.pop(item, None)
        self.tags.pop(item, None)
        if answer.status_code == good:
            self.own[item], self.tags[item] = _version(answer), _field(answer, "etag")

    def _write(
        self, method: str, item: str, good: int, name: str, body: Body = None, **fields: str
    ) -> AbstractContextManager[ResponseContextManager]:
        fields.setdefault("Idempotency-Key", uuid.uuid4().hex)
        return self._send(method, item, (good,), name, fields, body)

    @contextmanager
    def _send(
        self,
        method: str,
        item: str,
        good: tuple[int, ...],
        name: str,
        fields: dict[str, str] | None = None,
        body: Body = None,
    ) -> Iterator[ResponseContextManager]:
        """Any other status than the ``good`` ones is a failure, under ``name`` in the figures."""
        with self.client.request(
            method,
            f"/v1/items/{item}" if item else "/v1/items",
            name=name,
            headers=self.authorization | (fields or {}),
            json=body,
            catch_response=True,
        ) as answer:
            if answer.status_code in good:
                answer.success()
            else:
                _fail(answer, f"{method} answered {answer.status_code}: {answer.text}")
            yield answer


def _version(answer: ResponseContextManager) -> str:
    """Without the rest of the tag, which differs between content codings."""
    return _field(answer, "etag").strip('"').partition("-")[0]


def _field(answer: ResponseContextManager, name: str) -> str:
    """A header field that every good answer of this kind has."""
    assert answer.headers is not None
    return str(answer.headers[name])


def _fail(answer: ResponseContextManager, reason: str) -> None:
    answer.failure(reason)  # type: ignore[no-untyped-call]


def _body() -> dict[str, object]:
    text = " ".join(random.choices(_WORDS, k=random.choice((10, 100, 1000))))
    return {"data": {"name": f"item-{random.randrange(10**6)}", "text": text}}
