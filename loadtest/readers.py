"""Readers of everybody's items: by Zipf's law, some of them again, in both versions."""

import os
import random
from urllib.parse import urlencode

from locust import constant_throughput, task

from loadtest.caller import CODINGS, RATE, VERSIONS, Caller, catalog, field

_PAGE_ITEMS = 1000
_IDS = int(os.environ.get("HOTSHELF_LOAD_IDS", "20000"))


class Reader(Caller):
    """``seen`` is the last answer: path, content coding, entity tag."""

    weight = 7
    wait_time = constant_throughput(RATE)

    def on_start(self) -> None:
        super().on_start()
        self.seen: tuple[str, str, str] | None = None
        if not len(catalog):
            self._list_all()

    def _list_all(self) -> None:
        """Learn the ids, the names of a few members apart nothing else."""
        cursor = ""
        while len(catalog) < _IDS:
            page = {"limit": _PAGE_ITEMS, "fields": "none"} | ({"cursor": cursor} if cursor else {})
            path = f"/v1/items?{urlencode(page)}"
            with self.send("GET", path, (200,), "GET all ids") as answer:
                if answer is None:
                    return
                listed = answer.json()
            for item in listed["items"]:
                catalog.add(item["id"])
            cursor = listed["next_cursor"]
            if not cursor:
                return

    @task(85)
    def read(self) -> None:
        item = catalog.pick()
        if item is None:
            return
        version, coding = random.choice(VERSIONS), random.choice(CODINGS)
        path = f"/{version}/items/{item}"
        fields = {"Accept-Encoding": coding}
        with self.send("GET", path, (200, 404), f"GET {version} {coding}", fields) as answer:
            if answer is not None and answer.status_code == 200:
                self.seen = path, coding, field(answer, "etag")

    @task(15)
    def read_again(self) -> None:
        """A conditional GET of what was read last."""
        if self.seen is None:
            return
        path, coding, tag = self.seen
        fields = {"Accept-Encoding": coding, "If-None-Match": tag}
        with self.send("GET", path, (200, 304, 404), "GET if-none-match", fields):
            pass
