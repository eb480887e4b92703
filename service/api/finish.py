"""What every answer carries, whatever it is."""

from collections.abc import Sequence

from service.api.cors import with_cors
from service.api.lifecycle import is_about_items
from service.api.media_types import preferred
from service.api.request import Reply, RequestContext
from service.observe.requests import RequestCounts
from service.settings import Cors


def finished(
    cors: Cors,
    lifecycle: Sequence[tuple[str, str]],
    requests: RequestCounts,
    context: RequestContext,
    reply: Reply,
) -> Reply:
    """The answer with the limit's fields, those of version 1, and for browsers those of CORS.

    It is counted here, since nothing passes by.
    """
    requests.count(context.method, context.path, reply.status)
    more: list[tuple[str, str]] = []
    if context.admission is not None:
        more += context.admission.fields()
    if lifecycle and _is_version_1(context) and lifecycle[0] not in reply.headers:
        more += lifecycle
    if more:
        reply = Reply(reply.status, reply.headers + more, reply.body)
    return with_cors(cors, context.method, context.headers, reply)


def _is_version_1(context: RequestContext) -> bool:
    return is_about_items(context.path) and preferred(context).version == 1
