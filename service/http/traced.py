"""The root span of a sampled request."""

from service.api.request import Reply, RequestContext
from service.observe import tracing


def begun(context: RequestContext, *, sampled: bool) -> tracing.Span | None:
    """Begin the request's span; ``context.trace`` names it, and the task's work becomes its
    children.

    ``sampled`` decides where the caller sent no traceparent.
    """
    traces = tracing.traces()
    if traces is None:
        return None
    caller = context.trace
    if not (sampled if caller is None else traces.samples_caller(caller)):
        return None
    attributes = {"http.request.method": context.method, "url.scheme": context.scheme}
    span = traces.begin(context.method, caller, attributes)
    context.trace = span.trace
    tracing.enter(span)
    return span


def ended(span: tracing.Span, context: RequestContext, reply: Reply) -> None:
    """End the span of an answered request; path, query and caller are confidential."""
    span.end(
        {
            "http.route": context.route,
            "http.response.status_code": reply.status,
            "hotshelf.source": context.source,
            "hotshelf.request_id": context.request_id,
        },
        name=f"{context.method} {context.route}",
    )
