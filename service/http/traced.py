"""The span of a request as a whole, where it is sampled."""

from service.api.request import Reply, RequestContext
from service.observe import tracing


def begun(context: RequestContext, *, drawn: bool) -> tracing.Span | None:
    """The span that ``context.trace`` names from now on, and that all work of this task is in.

    ``drawn``: the lot fell on this request, which counts where its caller says nothing.
    """
    traces = tracing.traces()
    if traces is None:
        return None
    caller = context.trace
    if not (drawn if caller is None else traces.follows(caller)):
        return None
    attributes = {"http.request.method": context.method, "url.scheme": context.scheme}
    span = traces.begin(context.method, caller, attributes)
    context.trace = span.trace
    tracing.enter(span)
    return span


def ended(span: tracing.Span, context: RequestContext, reply: Reply) -> None:
    """The answer is sent. Paths, queries and callers are no one's business but the client's."""
    span.end(
        {
            "http.route": context.route,
            "http.response.status_code": reply.status,
            "hotshelf.source": context.source,
            "hotshelf.request_id": context.request_id,
        },
        name=f"{context.method} {context.route}",
    )
