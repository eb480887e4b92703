"""Mixed load over HTTP: readers, writers, listers and batchers, at 100 reads for a change.

`make load SHAPE=step` starts it; so does `locust -f loadtest/locustfile.py --host URL`, against any
running service. Environment: ``HOTSHELF_LOAD_TOKENS``, a file of bearer tokens or API keys, one a
line (default: the one that `make run` leaves), ``HOTSHELF_LOAD_SHAPE``, ``_USERS``, ``_MINUTES``,
``_RATE`` (requests a second of a reader), ``_WRITES`` (changes for 100 reads), ``_IDS`` (items that
are learnt at the beginning), ``_FACTS`` (a file for what the figures do not tell).
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events

from loadtest.batchers import Batcher
from loadtest.listers import Lister
from loadtest.readers import Reader
from loadtest.rows import LIMITED
from loadtest.shapes import users_at
from loadtest.writers import Writer

__all__ = ["Batcher", "Lister", "Reader", "Shape", "Writer"]

_MUCH = 0.8
_began = time.monotonic()


class Shape(LoadTestShape):
    """The one that is wanted, with HOTSHELF_LOAD_USERS for HOTSHELF_LOAD_MINUTES."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shape = os.environ.get("HOTSHELF_LOAD_SHAPE", "soak")
        self._most = int(os.environ.get("HOTSHELF_LOAD_USERS", "50"))
        self._seconds = float(os.environ.get("HOTSHELF_LOAD_MINUTES", "5")) * 60

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them start a second; None at the end."""
        share = self.get_run_time() / self._seconds  # type: ignore[no-untyped-call]
        if share >= 1:
            return None
        return users_at(self._shape, share, self._most), max(1, self._most / 2)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def tell(environment: Any, **_: object) -> None:
    """Locust's share of a core, because it is often the limit itself, and answers of 429."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    share = (used.ru_utime + used.ru_stime) / max(1e-3, time.monotonic() - _began)
    limited = sum(
        entry.num_requests for entry in environment.stats.entries.values() if entry.name == LIMITED
    )
    facts = {"cpu_share": round(share, 3), "limited": limited}
    if path := os.environ.get("HOTSHELF_LOAD_FACTS"):
        Path(path).write_text(json.dumps(facts))
    limit = ": it was the limit, not the service" if share > _MUCH else ""
    sys.stderr.write(
        f"locust took {share:.0%} of a core{limit}; 429 was answered {limited} times\n"
    )
