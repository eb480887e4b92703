"""What every answer carries, whatever it is."""

import time
from collections.abc import Sequence

from service.api.headers.cors import with_cors
from service.api.headers.deprecation import is_about_items
from service.api.headers.media_types import preferred
from service.api.request import Reply, RequestContext
from service.observe.access_log import AccessLog
from service.observe.metrics import SENT_BYTES
from service.observe.requests import RequestTimes
from service.settings import Cors

_SENT = SENT_BYTES.of()


def finished(
    cors: Cors,
    deprecation: Sequence[tuple[str, str]],
    times: RequestTimes,
    access_log: AccessLog,
    context: RequestContext,
    reply: Reply,
) -> Reply:
    """The answer with the limit's fields, those of version 1, and for browsers those of CORS.

    It is timed and counted here, since nothing passes by.
    """
    _observe(times, access_log, context, reply)
    more: list[tuple[str, str]] = []
    if context.admission is not None:
        more += context.admission.fields()
    if deprecation and _is_version_1(context) and deprecation[0] not in reply.headers:
        more += deprecation
    if more:
        reply = Reply(reply.status, reply.headers + more, reply.body)
    return with_cors(cors, context.method, context.headers, reply)


def _observe(
    times: RequestTimes, access_log: AccessLog, context: RequestContext, reply: Reply
) -> None:
    took_s = time.perf_counter() - context.began_s
    method, route = times.known(context.method, context.path)
    context.route = route
    trace_id = "" if context.trace is None else context.trace.trace_id
    times.observe(method, route, reply.status, took_s, context.source, trace_id)
    _SENT.value += len(reply.body)
    access_log.observe(
        request_id=context.request_id,
        trace_id=trace_id,
        method=method,
        route=route,
        status=reply.status,
        took_s=took_s,
        source=context.source,
        caller="" if context.caller is None else context.caller.limit_key,
        sent_bytes=len(reply.body),
    )


def _is_version_1(context: RequestContext) -> bool:
    return is_about_items(context.path) and preferred(context).version == 1
