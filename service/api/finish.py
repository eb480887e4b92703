"""What every answer carries, whatever it is."""

from service.api.cors import with_cors
from service.api.request import Reply, RequestContext
from service.settings import Cors


def finished(cors: Cors, context: RequestContext, reply: Reply) -> Reply:
    """The answer with the limit's fields and, for browsers, those of CORS."""
    if context.admission is not None:
        reply = reply._replace(headers=reply.headers + context.admission.fields())
    return with_cors(cors, context.method, context.headers, reply)
