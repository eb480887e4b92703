"""The service without what observes it, for bench_observe: nothing is timed, logged or written.

As a target (``bench.unobserved:application``) and as the program that serves it.
"""

import dataclasses
import os

from service import setting_sources
from service.app import application
from service.cli.serve import serve_options
from service.observe.hot_answers import HotAnswers
from service.observe.pauses import Pauses
from service.process.host_history import HostHistory
from service.process.host_numbers import HostNumbers
from service.process.serve import serve

__all__ = ["application"]


def _nothing(*_: object) -> None:
    pass


HotAnswers.sent = _nothing  # type: ignore[method-assign, assignment]
for part in (Pauses, HostHistory, HostNumbers):
    part.start = _nothing  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    settings, _ = setting_sources.load(os.environ)
    options = serve_options(settings)
    serve(dataclasses.replace(options, app_target="bench.unobserved:application"))
