"""What a batch costs beyond its first operation, charged by the gate."""

import asyncio
from typing import Any

import pytest

from service.access.credentials import Authenticator
from service.access.limiter import Limiter
from service.access.peer import TrustedProxies
from service.api.gate import Gate
from service.api.request import RequestContext
from service.model.caller import Caller
from service.model.errors import InvalidContent, RateLimited
from service.model.rate import Rate
from tests.fixtures.api_keys import ApiKeyWorld
from tests.fixtures.tokens import verifier


def test_a_batch_pays_for_all_its_operations_or_for_none() -> None:
    async def scenario() -> None:
        authenticator = Authenticator(verifier_, ApiKeyWorld().keys)
        # Without Redis a quarter of the capacity is there: 25.
        gate = Gate(authenticator, Limiter(None), Rate(100, 60), TrustedProxies([]))
        context = _context()
        await gate.charge(context, 20)
        with pytest.raises(RateLimited) as refused:
            await gate.charge(context, 6)
        assert (refused.value.retry_after_s or 0) >= 1
        await gate.charge(context, 5)
        with pytest.raises(InvalidContent):
            await gate.charge(context, 101)

    verifier_ = verifier(("ES256", "k"))
    asyncio.run(scenario())


def _context() -> RequestContext:
    async def no_body() -> bytes:
        return b""

    unused: dict[str, Any] = {"scheme": "http", "query_string": "", "peer": "127.0.0.1"}
    return RequestContext(
        method="POST",
        path="/v1/items:batch",
        headers={},
        request_id="r",
        read_body=no_body,
        caller=Caller("alice", frozenset(), "subject:alice"),
        **unused,
    )
