"""Owners who create, change and delete items, and read what they wrote."""

import random

from locust import constant_throughput, task
from locust.contrib.fasthttp import ResponseContextManager

from loadtest.caller import RATE, WRITES, Caller, catalog, data, fail, field, key, version

_ITEMS = 5
# Of the changes that were answered.
_AGAIN = 0.2
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"


class Writer(Caller):
    """``own`` has the entity tag last acknowledged of each of its items.

    Its pace makes WRITES changes for 100 reads, together with the batchers'.
    """

    weight = 1
    wait_time = constant_throughput(RATE * 0.05 * WRITES)

    def on_start(self) -> None:
        super().on_start()
        self.own: dict[str, str] = {}
        self.create()

    @task(3)
    def create(self) -> None:
        """A new item, sent twice with one key, without looking at the first answer's status."""
        fields, body = {"Idempotency-Key": key()}, {"data": data()}
        with self.send("POST", "/v1/items", (201,), "POST", fields, body) as first:
            pass
        with self.send("POST", "/v1/items", (201,), "POST again", fields, body) as again:
            if again is None:
                return
            if first is not None:
                compare(first, again)
            item = field(again, "location").rpartition("/")[2]
            self.own[item] = field(again, "etag")
        catalog.add(item)

    @task(4)
    def replace(self) -> None:
        self._change("PUT", {"data": data()}, {})

    @task(3)
    def patch(self) -> None:
        name = f"item-{random.randrange(10**6)}"
        if random.random() < 0.5:
            self._change("PATCH", {"data": {"name": name}}, {"Content-Type": _MERGE_PATCH})
        else:
            operation = {"op": "replace", "path": "/data/name", "value": name}
            self._change("PATCH", [operation], {"Content-Type": _JSON_PATCH})

    @task(6)
    def read_own(self) -> None:
        """The owner's read: never older than the last change that was acknowledged."""
        for item in self._one():
            known = self.own[item].strip('"').partition("-")[0]
            with self.send("GET", f"/v1/items/{item}", (200,), "GET own") as answer:
                if answer is not None and version(answer) != known:
                    fail(answer, f"stale read: version {known} was acknowledged before it")

    @task(2)
    def delete(self) -> None:
        """Brings the number of own items back to where it was."""
        for item in list(self.own)[:-_ITEMS]:
            fields = {"Idempotency-Key": key()}
            with self.send("DELETE", f"/v1/items/{item}", (204,), "DELETE", fields) as answer:
                if answer is not None:
                    del self.own[item]

    def _one(self) -> list[str]:
        return random.sample(list(self.own), min(1, len(self.own)))

    def _change(self, method: str, body: object, fields: dict[str, str]) -> None:
        """Under the condition that it is as last seen, and now and then sent again."""
        for item in self._one():
            path = f"/v1/items/{item}"
            fields = fields | {"If-Match": self.own.pop(item), "Idempotency-Key": key()}
            with self.send(method, path, (200,), method, fields, body) as last:
                pass
            if last is None or random.random() < _AGAIN:
                with self.send(method, path, (200,), f"{method} again", fields, body) as again:
                    if again is not None and last is not None:
                        compare(last, again)
                last = again
            if last is not None:  # else nobody knows what became of it
                self.own[item] = field(last, "etag")


def compare(first: ResponseContextManager, again: ResponseContextManager) -> None:
    """Two answers under one key are the same one, and the second says so."""
    for name in ("etag", "location"):
        if field(first, name) != field(again, name):
            fail(again, f"wrong replay: one key has two answers, by {name}")
    if first.content != again.content:
        fail(again, "wrong replay: one key has two answers, by body")
    if field(again, "idempotency-replayed") != "true":
        fail(again, "wrong replay: not marked as one")
