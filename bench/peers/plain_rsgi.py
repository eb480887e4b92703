"""The bound of anything in Python on Granian: one fixed answer, no work at all."""

import os
from pathlib import Path
from typing import Any

_BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
# As many header bytes as the service sends.
_HEADERS = [
    ("content-type", "application/json"),
    ("etag", '"1-00000000"'),
    ("cache-control", "private, no-cache"),
    ("vary", "Accept, Accept-Encoding, Authorization, X-API-Key"),
    ("ratelimit-policy", '"default";q=1000000;w=1'),
    ("ratelimit", '"default";r=1000000;t=1'),
    ("x-request-id", "0" * 32),
]


async def application(_scope: Any, exchange: Any) -> None:
    exchange.response_bytes(200, _HEADERS, _BODY)
