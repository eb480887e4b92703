"""Counts, times and logs the answers of the hot path, which does not pass api/finish.py."""

from time import perf_counter
from typing import Self

from service import native
from service.observe.access_log import AccessLog
from service.observe.metrics import SENT_BYTES
from service.observe.request_ids import request_ids
from service.observe.requests import SOURCES, of_route


class HotAnswers(native.HotAnswers):
    """Answers to GETs of one route template; one worker's."""

    def __new__(cls, route: str, _: AccessLog) -> Self:
        near = of_route("GET", route, "near")
        return super().__new__(cls, near[2], near[3], SENT_BYTES.of())

    def __init__(self, route: str, log: AccessLog) -> None:
        self._route = route
        self._log = log
        self.bytes = SENT_BYTES.of()
        self._times = {source: of_route("GET", route, source) for source in ("", *SOURCES)}
        self._new_id = request_ids()

    def sent(self, status: int, size: int, source: str, caller_key: str, began_s: float) -> None:
        """An answer with a body of ``size`` bytes was sent; ``began_s`` is ``perf_counter``'s."""
        took_s = perf_counter() - began_s
        self._times[source][status // 100].observe(took_s)
        self.bytes.value += size
        log = self._log
        if log.left > 0 and took_s < log.slow_s:
            log.left -= 1
        else:
            request_id, route = self._new_id(), self._route
            log.observe(request_id, "", "GET", route, status, took_s, source, caller_key, size)
