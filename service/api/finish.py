"""The last step of every answer of the general path: common header fields, metrics and log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from service.api.headers.cors import with_cors
from service.api.headers.deprecation import is_about_items
from service.api.headers.media_types import preferred
from service.api.headers.prefer import prefers
from service.api.headers.timing import timing_fields
from service.api.request import Reply, RequestContext
from service.model.resource import ITEMS, OTHERS, split
from service.observe.access_log import AccessLog
from service.observe.metrics import SENT_BYTES
from service.observe.requests import RequestTimes
from service.settings import Cors

_SENT = SENT_BYTES.of()


@dataclass(frozen=True, slots=True)
class Finish:
    """``deprecation`` are the fields of version 1; ``always_timing`` and ``always_limit`` add
    timing and limit fields to all answers.
    """

    cors: Cors
    deprecation: Sequence[tuple[str, str]]
    times: RequestTimes
    access_log: AccessLog
    always_timing: bool = False
    always_limit: bool = False

    def __call__(self, context: RequestContext, reply: Reply) -> Reply:
        """The answer with the fields of limits, version 1, timing and CORS.

        It is timed, counted and logged here, because every answer passes here.
        """
        took_s = time.perf_counter() - context.began_s
        self._observe(context, reply, took_s)
        more: list[tuple[str, str]] = []
        if self.always_timing or prefers(context.headers, "timing"):
            more += timing_fields(context.spent_s, took_s, context.source)
        if prefers(context.headers, "request-id"):
            context.names_itself = True
        admission = context.admission
        if admission is not None and (self.always_limit or admission.is_low):
            more += admission.fields()
        deprecation = self.deprecation
        if deprecation and _is_version_1(context) and deprecation[0] not in reply.headers:
            more += deprecation
        if more:
            reply = Reply(reply.status, reply.headers + more, reply.body)
        return with_cors(self.cors, context.method, context.headers, reply)

    def _observe(self, context: RequestContext, reply: Reply, took_s: float) -> None:
        method, context.route = self._known(context)
        trace_id = "" if context.trace is None else context.trace.trace_id
        self.times.observe(method, context.route, reply.status, took_s, context.source, trace_id)
        _SENT.value += len(reply.body)
        self.access_log.observe(
            request_id=context.request_id,
            trace_id=trace_id,
            method=method,
            route=context.route,
            status=reply.status,
            took_s=took_s,
            source=context.source,
            caller="" if context.caller is None else context.caller.limit_key,
            sent_bytes=len(reply.body),
        )

    def _known(self, context: RequestContext) -> tuple[str, str]:
        """Method and route; one route stands for those of all collections but items."""
        found = split(context.path) if context.collection.number else None
        if found is None:
            return self.times.known(context.method, context.path)
        version, below = found[1]
        method, route = self.times.known(context.method, ITEMS.path(version) + below)
        return method, route.replace(ITEMS.name, OTHERS.name, 1)


def _is_version_1(context: RequestContext) -> bool:
    is_versioned = context.collection.number > 0 or is_about_items(context.path)
    return is_versioned and preferred(context).version == 1
