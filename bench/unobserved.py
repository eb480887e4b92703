"""The service without what observes it, for bench_observe: nothing is timed, logged or written.

As a target (``bench.unobserved:application``) and as the program that serves it.
"""

import dataclasses
import os

from service import setting_sources
from service.api import get_item
from service.api.request import LARGE_BYTES, Exchange, GeneralPath, Reply, Scope
from service.app import application
from service.cli.run import serve_options
from service.model.caller import Caller
from service.model.rate import Admission
from service.observe.pauses import Pauses
from service.process.host_history import HostHistory
from service.process.host_numbers import HostNumbers
from service.process.serve import serve

__all__ = ["application"]


def _send(
    self: get_item.GetItem,
    scope: Scope,
    exchange: Exchange,
    general: GeneralPath,
    reply: Reply,
    admission: Admission,
    caller: Caller,
    source: str,  # noqa: ARG001
    began_s: float,  # noqa: ARG001
) -> None:
    status, headers, body = reply
    if admission.is_low or self._always_limit:
        headers = [*headers, *admission.fields()]
    if self._draining():
        headers = [*headers, ("connection", "close")]
    if len(body) > LARGE_BYTES:
        whole = Reply(status, headers, body)
        general.send_large(scope, exchange, whole, caller.account, admission)
    elif body:
        exchange.response_bytes(status, headers, body)
    else:
        exchange.response_empty(status, headers)


def _nothing(_: object) -> None:
    pass


get_item.GetItem._send = _send  # type: ignore[method-assign]  # noqa: SLF001
for part in (Pauses, HostHistory, HostNumbers):
    part.start = _nothing  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    settings, _ = setting_sources.load(os.environ)
    options = serve_options(settings)
    serve(dataclasses.replace(options, app_target="bench.unobserved:application"))
