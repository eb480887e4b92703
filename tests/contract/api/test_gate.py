"""Which account the gate charges, and how much: batches, and guesses at keys."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from service.access.api_keys import new_key
from service.access.credentials import Authenticator
from service.access.limiter import Limiter
from service.access.peer import TrustedProxies
from service.api.gate import Gate
from service.api.request import RequestContext
from service.model.caller import Caller
from service.model.errors import HotshelfError, InvalidContent, RateLimited
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


def _gate(world: ApiKeyWorld) -> Gate:
    # Without Redis a quarter of the capacity is there: 25.
    authenticator = Authenticator(verifier(("ES256", "k")), world.keys)
    with asyncio.Runner() as runner:
        limiter = runner.run(_limiter())
    return Gate(authenticator, limiter, Rate(100, 60), TrustedProxies([]))


async def _limiter() -> Limiter:
    return Limiter(None)


async def _outcome(gate: Gate, key: str) -> str:
    context = replace(_context(), headers={"x-api-key": [key]})
    try:
        await gate.enter(context)
    except HotshelfError as error:
        return error.code
    return "entered"


def test_guessed_keys_cost_their_address_before_they_cost_the_database() -> None:
    world = ApiKeyWorld()
    gate = _gate(world)

    async def scenario() -> None:
        outcomes = Counter([await _outcome(gate, new_key()[1]) for _ in range(200)])
        assert outcomes == {"invalid-api-key": 25, "rate-limited": 175}
        assert world.look_ups == 25

    asyncio.run(scenario())


def test_a_good_key_costs_its_address_nothing() -> None:
    world = ApiKeyWorld()
    gate = _gate(world)

    async def scenario() -> None:
        outcomes = Counter([await _outcome(gate, world.add()) for _ in range(200)])
        assert outcomes == {"entered": 200}

    asyncio.run(scenario())


def test_guesses_count_while_the_database_is_away_too() -> None:
    world = ApiKeyWorld()
    gate = _gate(world)

    async def scenario() -> None:
        world.up = False
        outcomes = Counter([await _outcome(gate, new_key()[1]) for _ in range(200)])
        assert outcomes == {"access-unavailable": 25, "rate-limited": 175}

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
