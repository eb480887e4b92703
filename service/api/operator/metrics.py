"""GET /metrics: the metrics of all workers, whichever of them answers."""

from service.access import scopes
from service.api.headers.header_lists import field
from service.api.request import Reply, RequestContext
from service.observe.exposition import exposition, media_type
from service.observe.metrics import REGISTRY
from service.process.host_numbers import HostNumbers


class Metrics:
    """For requests from this machine and callers with the scope items:admin; others are refused by
    the gate (api/routes.py) or here.
    """

    def __init__(self, numbers: HostNumbers) -> None:
        self._numbers = numbers

    async def get(self, context: RequestContext) -> Reply:
        """In OpenMetrics if accepted, else in a format that Prometheus 2 and 3 both read.

        Raises InsufficientScope, HeaderTooLarge.
        """
        if context.caller is not None:
            scopes.require(context.caller, scopes.ADMIN)
        media = media_type(field(context.headers, "accept") or "")
        text = exposition(REGISTRY.described, self._numbers.read(), media)
        fields = [("content-type", media), ("cache-control", "no-store"), ("vary", "Accept")]
        return Reply(200, fields, text)
