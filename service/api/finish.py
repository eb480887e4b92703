"""What every answer carries, whatever it is."""

from collections.abc import Sequence

from service.api.headers.cors import with_cors
from service.api.headers.deprecation import is_about_items
from service.api.headers.media_types import preferred
from service.api.request import Reply, RequestContext
from service.observe.requests import RequestCounts
from service.settings import Cors


def finished(
    cors: Cors,
    deprecation: Sequence[tuple[str, str]],
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
    if deprecation and _is_version_1(context) and deprecation[0] not in reply.headers:
        more += deprecation
    if more:
        reply = Reply(reply.status, reply.headers + more, reply.body)
    return with_cors(cors, context.method, context.headers, reply)


def _is_version_1(context: RequestContext) -> bool:
    return is_about_items(context.path) and preferred(context).version == 1
