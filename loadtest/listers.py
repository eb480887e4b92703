"""Readers of lists: filters, and pages further and further back."""

import random
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from locust import constant_throughput, task

from loadtest.caller import RATE, VERSIONS, WORDS, Caller

_SORTS = ("id", "-id")  # what a filter by an undeclared attribute may be sorted by
_RECENT_S = 3600


class Lister(Caller):
    """``cursor`` is where its walk through the list of newest items has come to."""

    weight = 1
    wait_time = constant_throughput(RATE * 0.1)

    def on_start(self) -> None:
        super().on_start()
        self.cursor = ""

    @task(3)
    def filtered(self) -> None:
        query = {"filter[section]": random.choice(WORDS), "sort": random.choice(_SORTS)}
        self._page(query, "GET list, equal")

    @task(3)
    def recent(self) -> None:
        since = datetime.now(UTC) - timedelta(seconds=random.randrange(_RECENT_S))
        query = {"filter[created_at][gte]": since.isoformat(), "sort": "-created_at"}
        self._page(query, "GET list, range")

    @task(6)
    def walk(self) -> None:
        """The next page, as deep as it goes, and then from the beginning."""
        query = {"sort": "-created_at"} | ({"cursor": self.cursor} if self.cursor else {})
        self.cursor = self._page(query, "GET list, deep" if self.cursor else "GET list, first")

    @task(1)
    def second_version(self) -> None:
        path = f"/{VERSIONS[1]}/items?{urlencode({'page[size]': 20})}"
        with self.send("GET", path, (200,), "GET list, v2"):
            pass

    def _page(self, query: dict[str, str], name: str) -> str:
        """The cursor of the next page, empty after the last."""
        path = f"/{VERSIONS[0]}/items?{urlencode(query)}"
        with self.send("GET", path, (200,), name) as answer:
            return "" if answer is None else answer.json()["next_cursor"] or ""
