"""Builds what looks at a worker: its numbers on the board, and who asks host and databases."""

import os
from contextlib import AsyncExitStack
from functools import partial

from service.api.operator.samples import Parts, samples
from service.observe.metrics import REGISTRY
from service.observe.pauses import Pauses
from service.process.host_numbers import HostNumbers
from service.process.worker_board import WorkerBoard


def start_looking(parts: Parts, opened: AsyncExitStack) -> HostNumbers:
    """What a worker measures of itself; of host and databases only the first worker does."""
    board = WorkerBoard.inherited(os.environ)
    opened.callback(board.close)
    numbers = HostNumbers(board, REGISTRY, partial(samples, parts))
    opened.push_async_callback(numbers.close)
    pauses = Pauses()
    opened.push_async_callback(pauses.close)
    pauses.start()
    if numbers.worker == 0:
        for once in (parts.facts, parts.connections):
            opened.push_async_callback(once.close)
            once.start()
    numbers.start()
    return numbers
